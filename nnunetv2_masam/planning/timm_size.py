"""Sizes that memory and operations of a ViT or a Hiera of timm depend on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from nnunetv2_masam.architecture import HIERA_STEP, PATCH_SIZE, TIMM, AdaptationSize, ViTSize


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


class HieraBlock(NamedTuple):
    """A block of a Hiera, and the adapter before it."""

    width: int  # E
    out: int  # E of what it gives
    stride: int  # pixels along each side of a token that it takes
    pooling: int  # tokens along each side that become one
    window: int  # tokens along each side; 0 is the whole slice
    adapter: int  # A


@dataclass(frozen=True)
class HieraSize:
    """Blocks of a Hiera, whose last two stages the neck merges at the stride of SAM's tokens."""

    blocks: tuple[HieraBlock, ...]
    stride: ClassVar[int] = PATCH_SIZE


@lru_cache(maxsize=8)
def hiera_size(encoder: str, adapter_channels: int | None) -> HieraSize:
    """The sizes of ``timm:sam2_hiera_…``, read off as those of :func:`timm_size`."""
    import torch

    from nnunetv2_masam.network.hiera import HieraEncoder

    with torch.device("meta"):
        built: Any = HieraEncoder(encoder.removeprefix(TIMM), 1, (HIERA_STEP, HIERA_STEP), AdaptationSize())
    blocks, stride = [], int(built.vit.patch_embed.proj.stride[0])
    for block, adapter in zip(built.vit.blocks, built.adapters, strict=True):
        pooling = block.q_stride[0] if block.q_stride else 1
        channels = adapter.down.out_features if adapter_channels is None else adapter_channels
        blocks.append(HieraBlock(block.dim, block.dim_out, stride, pooling, block.window_size[0], channels))
        stride *= pooling
    return HieraSize(tuple(blocks))
