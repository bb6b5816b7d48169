"""The image encoder that an argument names: SAM's ViT or a ViT of timm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nnunetv2_masam.network.presets import PATCH_SIZE, ViTSize

TIMM = "timm:"


def check_encoder(encoder: str) -> None:
    """Raise a ValueError unless ``encoder`` is ``sam`` or ``timm:`` and a name."""
    if encoder != "sam" and (not encoder.startswith(TIMM) or encoder == TIMM):
        raise ValueError(
            f"encoder: got {encoder!r}, expected 'sam' or 'timm:NAME', such as timm:vit_base_patch16_dinov3"
        )


def build_image_encoder(
    encoder: str, vit: ViTSize, input_channels: int, image_size: tuple[int, int], **adaptation: Any
) -> Any:
    """The image encoder, with random weights.

    Args:
        encoder: ``sam`` or ``timm:NAME``.
        vit: sizes of SAM's ViT; without meaning for timm's.
        input_channels, image_size, adaptation: see
            :class:`~nnunetv2_masam.network.image_encoder.ImageEncoder`.
    """
    check_encoder(encoder)
    if encoder.startswith(TIMM):
        from nnunetv2_masam.network.timm_encoder import TimmImageEncoder

        return TimmImageEncoder(encoder.removeprefix(TIMM), input_channels, image_size, **adaptation)
    from nnunetv2_masam.network.image_encoder import ImageEncoder

    return ImageEncoder(input_channels, vit, image_size, **adaptation)


@dataclass(frozen=True)
class TimmSize:
    """What memory and operations of a timm ViT depend on.

    Attributes:
        vit: its sizes as SAM's are given.
        rotary: whether queries and keys are rotated.
        layer_scale: whether what attention and MLP add is scaled by trained factors.
    """

    vit: ViTSize
    rotary: bool
    layer_scale: bool


@lru_cache(maxsize=8)
def timm_size(encoder: str) -> TimmSize:
    """The sizes of a timm ViT, read off a model without memory for its weights."""
    import torch

    from nnunetv2_masam.network.timm_encoder import create_timm_vit

    with torch.device("meta"):
        vit = create_timm_vit(encoder.removeprefix(TIMM), 1, (PATCH_SIZE, PATCH_SIZE))
    depth, block = len(vit.blocks), vit.blocks[0]
    size = ViTSize(
        embed_dim=vit.embed_dim,
        depth=depth,
        num_heads=block.attn.num_heads,
        global_attn_indexes=tuple(range(depth)),
        mlp_dim=block.mlp.fc2.in_features,
        rel_pos=False,
    )
    scaled = any("gamma" in name for name, _ in block.named_parameters())
    return TimmSize(size, getattr(vit, "rope", None) is not None, scaled)
