"""A block in prediction on a CPU, two slices at a time: slices see each other in the adapters' convolutions only.

Pays by time and memory: what is computed in between stays in the cache, and its memory is used again rather than taken
from the operating system anew. With 40 slices of ViT-B a block is 1.17 times as fast, and the largest tensor, between
the layers of the MLP, is a twentieth (``benchmarks/results/kernels-cpu.json``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunetv2_masam.network.adapter3d import Adapter3d
from nnunetv2_masam.network.fact import FacT
from nnunetv2_masam.network.kernels.linear import LinearByConvolution

if TYPE_CHECKING:
    from nnunetv2_masam.network.image_encoder import Block

_SLICES_AT_ONCE = 2


def block_by_slices(block: Block, x: Tensor, fact: FacT | None, depth: int, attention: Callable[..., Tensor]) -> Tensor:
    """``Block.forward`` on (B·D, G, G', E), samples of ``depth`` = D slices, to the same shape; without autograd."""
    x = x.clone()
    parts = x.split(_SLICES_AT_ONCE)  # views: what is added to them is added to x
    with LinearByConvolution():
        _add_adapter(block.adapter_1, parts, depth)
        for part in parts:
            part += block.attn(block.norm1(part), fact, attention)
        _add_adapter(block.adapter_2, parts, depth)
        for part in parts:
            part += block.mlp(block.norm2(part))
    return x


def _add_adapter(adapter: Adapter3d | None, parts: tuple[Tensor, ...], depth: int) -> None:
    """Adds an adapter's increment to the slices that it is computed from."""
    if adapter is None or not adapter.enabled:
        return
    mixed = adapter.mix(torch.cat([adapter.narrow(part) for part in parts]), depth)  # (B·D, G, G', A)
    for part, mixed_part in zip(parts, mixed.split(_SLICES_AT_ONCE), strict=True):
        part += adapter.expand(mixed_part)
