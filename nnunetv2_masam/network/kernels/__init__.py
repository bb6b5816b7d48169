"""Faster or leaner equivalents of plain functions of the network, each paid for by a measurement, behind one switch.

``MASAM.kernels`` is that switch:

- ``plain``: none of them;
- ``fast``: blocks and attention on any device, and linear layers on a CPU;
- ``auto``: all on a CPU; on other devices the blocks only, because the rest is for CPUs.

Where a forward or backward hook is registered in the image encoder, a parametrization or quantised layer has taken a
module's place, or ``torch.compile`` is at work, the plain form is used whatever the switch says.

There are three kernels, in four files:

| file | replaces | pays by |
|---|---|---|
| ``block.py`` | ``Block.forward``, with recomputed adapters | 26 % less peak memory of a training step |
| ``attention.py`` | ``decomposed_attention``, a few heads at a time | half of these 26 % |
| ``prediction.py`` | ``Block.forward`` without autograd, a few slices at a time | time and memory of deep tiles |
| ``linear.py`` | ``F.linear``, by oneDNN's convolutions | a little time, on CPUs where BLAS is slower |

``benchmarks/kernels.py`` measures them; ``docs/benchmarks.md`` has the results.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_masam.network.adaptation import is_plain
from nnunetv2_masam.network.attention import decomposed_attention
from nnunetv2_masam.network.kernels.attention import attention_by_parts
from nnunetv2_masam.network.kernels.block import lean_block
from nnunetv2_masam.network.kernels.linear import LinearByConvolution
from nnunetv2_masam.network.kernels.prediction import block_by_slices

KERNELS = ("auto", "plain", "fast")


def block_function(kernels: str, blocks: nn.ModuleList, x: Tensor) -> Callable[..., Tensor]:
    """What computes a block of the image encoder: called with block, x, fact and depth."""
    if kernels == "plain" or not is_plain(blocks):
        return _call
    on_cpu = x.device.type == "cpu"
    attention = attention_by_parts if on_cpu or kernels == "fast" else decomposed_attention
    products = LinearByConvolution if on_cpu else nullcontext
    if on_cpu and not torch.is_grad_enabled():
        return partial(block_by_slices, attention=attention)
    return partial(lean_block, attention=attention, products=products)


def _call(block: nn.Module, *args: Any) -> Tensor:
    out: Tensor = block(*args)
    return out
