"""A block in prediction: a few slices at a time, in the place of its input.

Where autograd is disabled, nothing has to be kept. Between its products a block is up to four times as wide as the
tokens; computed for all slices at once, this is what takes most memory, and on a CPU new memory has to be cleared each
time. In groups of slices it stays small and in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_masam.network.adapter3d import Adapter3d
from nnunetv2_masam.network.fact import FacT
from nnunetv2_masam.network.presets import TOKENS_AT_ONCE

if TYPE_CHECKING:
    from nnunetv2_masam.network.image_encoder import Block

_TOKENS_AT_ONCE_ON_CPU = 2**10  # with more, the system takes memory back between groups, and has to clear it again


def predict_block(block: Block, x: Tensor, fact: FacT | None, depth: int, attention: Callable[..., Tensor]) -> Tensor:
    """``Block.forward`` on (B·D, G, G', E), in the place of ``x``, without autograd."""
    if block.adapter_1 is not None:
        add_adapter(block.adapter_1, x, depth)
    for part in slice_groups(x):
        part += block.attn(block.norm1(part), fact, attention)
    if block.adapter_2 is not None:
        add_adapter(block.adapter_2, x, depth)
    for part in slice_groups(x):
        part += block.mlp(block.norm2(part))
    return x


def add_adapter(adapter: Adapter3d, x: Tensor, depth: int) -> None:
    """:meth:`Adapter3d.forward` on (B·D, G, G', E), in the place of ``x``."""
    if not adapter.enabled:
        return
    for sample in x.unflatten(0, (-1, depth)):  # (D, G, G', E)
        groups = slice_groups(sample)
        reduced = torch.cat([adapter.down(adapter.norm(part)) for part in groups])
        # (reach + D + reach, G, G', A), zeros beyond the ends
        reduced = F.pad(reduced, (0, 0, 0, 0, 0, 0, adapter.reach, adapter.reach))
        start = 0
        for part in groups:
            end = start + len(part) + 2 * adapter.reach
            stacked = reduced[start:end].permute(3, 0, 1, 2)  # with the neighbours on both sides
            # (A, slices, G, G')
            mixed = F.conv3d(stacked, adapter.conv.weight, adapter.conv.bias, dilation=adapter.conv.dilation)
            part += adapter.expand(mixed.permute(1, 2, 3, 0))
            start += len(part)


def slice_groups(x: Tensor) -> tuple[Tensor, ...]:
    """Split (N, G, G', …) into groups of slices: enough to keep the device busy, and few to take little memory."""
    at_once = _TOKENS_AT_ONCE_ON_CPU if x.device.type == "cpu" else TOKENS_AT_ONCE
    return x.split(max(1, at_once // (x.shape[1] * x.shape[2])))
