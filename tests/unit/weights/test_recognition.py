"""The ViT of a state dict, recognised from shapes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nnunetv2_masam.weights.recognition import recognise_vit


def encoder_shapes(embed_dim: int, depth: int, num_heads: int, grid: int = 64) -> dict[str, Tensor]:
    """Tensors without memory behind them: only shapes matter here."""
    tensors = {
        "image_encoder.pos_embed": torch.empty(1, grid, grid, embed_dim, device="meta"),
        "image_encoder.patch_embed.proj.weight": torch.empty(embed_dim, 3, 16, 16, device="meta"),
    }
    for index in range(depth):
        length = 2 * grid - 1 if index in (1, depth - 1) else 27
        for axis in "hw":
            name = f"image_encoder.blocks.{index}.attn.rel_pos_{axis}"
            tensors[name] = torch.empty(length, embed_dim // num_heads, device="meta")
    return tensors


@pytest.mark.parametrize(
    ("vit", "size"), [("vit_b", (768, 12, 12)), ("vit_l", (1024, 24, 16)), ("vit_h", (1280, 32, 16))]
)
def test_presets_are_recognised(vit: str, size: tuple[int, int, int]) -> None:
    geometry = recognise_vit(encoder_shapes(*size))
    assert geometry.preset == str(geometry) == vit
    assert (geometry.embed_dim, geometry.depth, geometry.num_heads) == size
    assert geometry.global_attn_indexes == (1, size[1] - 1)
    assert geometry.image_size == (1024, 1024)


@pytest.mark.parametrize("size", [(768, 11, 12), (384, 12, 6), (768, 12, 6)])
def test_other_geometries_are_custom(size: tuple[int, int, int]) -> None:
    geometry = recognise_vit(encoder_shapes(*size))
    assert geometry.preset is None
    assert str(geometry) == f"custom embed_dim={size[0]}, depth={size[1]}"


def test_resized_position_tables_are_no_other_vit() -> None:
    geometry = recognise_vit(encoder_shapes(768, 12, 12, grid=16))
    assert geometry.preset == "vit_b"
    assert geometry.image_size == (256, 256)
    assert geometry.global_attn_indexes == (1, 11)


def test_gap_in_the_blocks_is_an_error() -> None:
    shapes = encoder_shapes(768, 4, 12)
    for axis in "hw":
        del shapes[f"image_encoder.blocks.2.attn.rel_pos_{axis}"]
    with pytest.raises(ValueError, match=r"blocks \[0, 1, 3\]; expected"):
        recognise_vit(shapes)
