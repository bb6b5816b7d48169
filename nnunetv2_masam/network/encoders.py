"""The image encoder that an argument names: SAM's ViT or a ViT of timm."""

from __future__ import annotations

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


@lru_cache(maxsize=8)
def timm_size(encoder: str) -> ViTSize:
    """The sizes of a timm ViT as SAM's are given, read off a model without memory for its weights."""
    import torch

    from nnunetv2_masam.network.timm_encoder import create_timm_vit

    with torch.device("meta"):
        vit = create_timm_vit(encoder.removeprefix(TIMM), 1, (PATCH_SIZE, PATCH_SIZE))
    depth = len(vit.blocks)
    return ViTSize(
        embed_dim=vit.embed_dim,
        depth=depth,
        num_heads=vit.blocks[0].attn.num_heads,
        global_attn_indexes=tuple(range(depth)),
        mlp_dim=vit.blocks[0].mlp.fc2.in_features,
        rel_pos=False,
    )
