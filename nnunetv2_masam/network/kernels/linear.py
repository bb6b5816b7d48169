"""Linear layers on a CPU as convolutions of 1 × 1, which oneDNN computes faster than torch's BLAS does on some CPUs.

Pays by time where that is so, and changes nothing in memory: see ``benchmarks/results/kernels-forward-cpu.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_FEWEST_CHANNELS = 64  # below, the gradient of the weight takes longer than it does in a matrix product


class LinearByConvolution(TorchFunctionMode):
    """Within this context, ``F.linear`` on (N, G, G', E) in float32 is a convolution; the result is the same.

    Modules need not know of it: :class:`torch.nn.Linear` calls ``F.linear``.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and _pays(*args[:2]):
            return linear_by_convolution(*args)
        return func(*args, **(kwargs or {}))


def linear_by_convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``: (N, G, G', E) and a weight (K, E) to (N, G, G', K)."""
    trained = weight.requires_grad or (bias is not None and bias.requires_grad)
    if trained or not torch.is_grad_enabled():
        return _convolution(x, weight, bias)
    out: Tensor = _Frozen.apply(x, weight, bias)
    return out


class _Frozen(torch.autograd.Function):
    """:func:`linear_by_convolution` with a frozen weight, without storing ``x``, as a convolution would."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _convolution(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _convolution(grad, weight.t(), None), None, None


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    channels_last = x.permute(0, 3, 1, 2)  # a view, in the order of channels that oneDNN takes without a copy
    return F.conv2d(channels_last, weight[:, :, None, None], bias).permute(0, 2, 3, 1)


def _pays(x: Tensor, weight: Tensor) -> bool:
    precise = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return precise and x.dim() == 4 and min(weight.shape) >= _FEWEST_CHANNELS
