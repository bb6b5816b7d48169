"""Batch normalisation whose statistics train with its weights, once for each step, and the convolution before it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import noop_context_fn

from nnunetv2_masam.network.adaptation import is_plain


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that trains with its weights: where they are frozen, so are its statistics."""

    computed_again = False  # in the backward pass, after the forward pass has updated the statistics

    @property
    def is_frozen(self) -> bool:
        """Whether the stored statistics are used and kept."""
        return not (self.training and self.weight.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        """(N, E, h, w) to the same shape."""
        if self.is_frozen:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if not self.computed_again:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        statistics = (self.running_mean.clone(), self.running_var.clone())
        return F.batch_norm(x, *statistics, self.weight, self.bias, training=True, eps=self.eps)


class ComputedAgain:
    """A context, which may be entered repeatedly, in which batch normalisations of ``module`` update no statistics."""

    def __init__(self, module: nn.Module) -> None:
        self.norms = [part for part in module.modules() if isinstance(part, BatchNorm)]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.computed_again = True

    def __exit__(self, *_: object) -> None:
        for norm in self.norms:
            norm.computed_again = False


def contexts_of(module: nn.Module) -> Callable[[], tuple[AbstractContextManager[None], AbstractContextManager[None]]]:
    """The contexts of a checkpoint's two computations; ``torch.compile`` accepts none of this kind."""
    if torch.compiler.is_compiling():
        return noop_context_fn
    return lambda: (nullcontext(), ComputedAgain(module))


class ConvNorm(nn.Sequential):
    """A convolution without bias and the normalisation of its output."""

    def __init__(self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.bn = BatchNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, E, h, w) to (N, E', h', w'); with stored statistics, one convolution does both."""
        if not (self.bn.is_frozen and is_plain(self)):
            return self.bn(self.c(x))
        bn = self.bn
        assert bn.running_mean is not None
        assert bn.running_var is not None
        scale = bn.weight * (bn.running_var + bn.eps).rsqrt()
        weight, bias = self.c.weight * scale[:, None, None, None], bn.bias - bn.running_mean * scale
        return F.conv2d(x, weight, bias, self.c.stride, self.c.padding, groups=self.c.groups)
