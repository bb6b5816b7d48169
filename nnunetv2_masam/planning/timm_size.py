"""Sizes that memory and operations of a ViT of timm depend on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nnunetv2_masam.architecture import PATCH_SIZE, TIMM, ViTSize


@dataclass(frozen=True)
class TimmSize:
    """Sizes that memory and operations of a timm ViT depend on.

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
    """The sizes of ``timm:NAME``, read off a model without memory for its weights; torch is imported here only."""
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
