"""A block in prediction on a CPU, a few slices at a time: slices see each other in the adapters' convolutions only.

Pays by time, in deep tiles: what is computed in between stays in the cache, and its memory is used again rather than
taken from the operating system anew (``benchmarks/results/kernels-forward-cpu.json``).
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

_NUMBERS_AT_ONCE = 2 * 32 * 32 * 768  # of tokens: two slices of 512 x 512 in ViT-B, more in smaller networks


def block_by_slices(block: Block, x: Tensor, fact: FacT | None, depth: int, attention: Callable[..., Tensor]) -> Tensor:
    """``Block.forward`` on (B·D, G, G', E), samples of ``depth`` = D slices, to the same shape; without autograd."""
    x = x.clone()
    parts = x.split(max(1, _NUMBERS_AT_ONCE // x[0].numel()))  # views: what is added to them is added to x
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
    for part, mixed_part in zip(parts, mixed.split(len(parts[0])), strict=True):
        part += adapter.expand(mixed_part)
