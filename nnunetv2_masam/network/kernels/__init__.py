"""Faster or leaner equivalents of plain functions of the network, each paid for by a measurement, behind one switch.

``MASAM.kernels`` is that switch:

- ``plain``: none of them;
- ``fast``: all of them, on any device;
- ``auto``: those that were measured to pay on the device at hand: all on a CPU, on others those that save memory.

Where a forward or backward hook is registered in the image encoder, a parametrization or quantised layer has taken a
module's place, or ``torch.compile`` is at work, the plain form is used whatever the switch says.

| file | replaces | pays by |
|---|---|---|
| ``prediction.py`` | ``Block.forward`` without autograd | time and memory of prediction |
| ``training.py`` | ``Block.forward`` in training | memory of a training step |
| ``attention.py`` | ``decomposed_attention``, in both on a CPU | time of both, memory of a training step |

The measurements are in ``benchmarks/results/kernels-cpu.json``; ``docs/benchmarks.md`` shows them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_masam.network.adaptation import is_plain
from nnunetv2_masam.network.attention import decomposed_attention
from nnunetv2_masam.network.kernels.attention import attention_by_parts
from nnunetv2_masam.network.kernels.prediction import predict_block
from nnunetv2_masam.network.kernels.training import train_block

KERNELS = ("auto", "plain", "fast")


def block_function(kernels: str, blocks: nn.ModuleList, x: Tensor) -> Callable[..., Tensor]:
    """What computes a block of the image encoder: called with block, x, fact and depth.

    The caller must own ``x``: where autograd is disabled, the function may write its result in the place of ``x``.
    """
    if kernels == "plain" or not is_plain(blocks):
        return _call
    by_parts = kernels == "fast" or x.device.type == "cpu"
    attention = attention_by_parts if by_parts else decomposed_attention
    return partial(train_block if torch.is_grad_enabled() else predict_block, attention=attention)


def _call(block: nn.Module, *args: Any) -> Tensor:
    out: Tensor = block(*args)
    return out
