"""Files of LiteMedSAM and MobileSAM: recognised by their shapes, and named when they are given to the wrong network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nnunetv2_masam.weights import CheckpointError
from nnunetv2_masam.weights.formats import read_sam_checkpoint
from nnunetv2_masam.weights.recognition import recognise_encoder


def telling_tensors(patches: int, windows: tuple[int, ...] = (7, 14, 7)) -> dict[str, Tensor]:
    """What a TinyViT of MobileSAM's widths is recognised by, with values that are not there."""
    shapes: dict[str, tuple[int, ...]] = {"patch_embed.seq.0.c.weight": (32, 3, patches, patches)}
    for stage, (width, depth, heads) in enumerate(((64, 2, 0), (128, 2, 4), (160, 6, 5), (320, 2, 10))):
        for block in range(depth):
            name = f"layers.{stage}.blocks.{block}."
            if stage == 0:
                shapes[name + "conv3.c.weight"] = (width, 4 * width, 1, 1)
            else:
                shapes[name + "attn.proj.weight"] = (width, width)
                shapes[name + "attn.attention_biases"] = (heads, windows[stage - 1] ** 2)
    return {f"image_encoder.{name}": torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(("patches", "preset", "stride"), [(1, "lite_medsam", 4), (3, "mobile_sam", 16)])
def test_the_patch_embedding_tells_one_from_the_other(patches: int, preset: str, stride: int) -> None:
    geometry = recognise_encoder(telling_tensors(patches))
    assert (str(geometry), geometry.preset, geometry.stride) == (preset, preset, stride)
    assert geometry.kind == f"a TinyViT of stride {stride} with widths 64/128/160/320 and 2/2/6/2 blocks ({preset})"


def test_another_window_is_another_encoder() -> None:
    geometry = recognise_encoder(telling_tensors(1, windows=(7, 7, 7)))
    assert geometry.preset is None
    assert str(geometry) == "custom widths=(64, 128, 160, 320), depths=(2, 2, 6, 2), stride=4"


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("layers.2.blocks.3.", r"a TinyViT with blocks \[0, 1, 2, 4, 5\] in a stage; expected all of it"),
        ("layers.", r"no image_encoder\.layers\.0\.blocks\.0\.conv3\.c\.weight"),
        ("layers.3.blocks.0.attn.attention_biases", r"no image_encoder\.layers\.3\.blocks\.0\.attn\.attention_biases"),
    ],
)
def test_half_of_an_encoder_is_not_recognised(without: str, message: str) -> None:
    kept = {name: tensor for name, tensor in telling_tensors(1).items() if f"image_encoder.{without}" not in name}
    with pytest.raises(ValueError, match=message):
        recognise_encoder(kept)


def test_other_shapes_are_not_recognised() -> None:
    name = "image_encoder.layers.1.blocks.0.attn.attention_biases"
    with pytest.raises(ValueError, match="other shapes"):
        recognise_encoder({**telling_tensors(1), name: torch.zeros(4)})


def test_counters_are_no_weights(tmp_path: Path) -> None:
    """Batch norm counts its batches in whole numbers; quantised weights stay refused."""
    tensors = {name: torch.zeros(tensor.shape) for name, tensor in telling_tensors(1).items()}
    counter = "image_encoder.patch_embed.seq.0.bn.num_batches_tracked"
    torch.save({"model": {**tensors, counter: torch.tensor(7)}}, tmp_path / "lite.pth")
    read = read_sam_checkpoint(tmp_path / "lite.pth")
    assert read.state_dict[counter] == 7
    assert (read.foreign, read.naming) == ((), "official names, inside 'model'")
    torch.save({**tensors, "image_encoder.neck.0.weight": torch.tensor([7])}, tmp_path / "lite.pth")
    with pytest.raises(CheckpointError, match="weight as torch.int64"):
        read_sam_checkpoint(tmp_path / "lite.pth")
