"""The MLP of SAM's ViT blocks, around its residual connection.

Between its two products it is four times as wide as the tokens. On a CPU it therefore works on a few slices at a time,
whose numbers stay in the cache, and stores what the gradients need and no more.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nnunetv2_masam.network.autocast import autocast_as_in_forward, remember_autocast
from nnunetv2_masam.network.sam_parts import MLPBlock
from nnunetv2_masam.network.slices import add_in_place, slice_groups


class ResidualMLP(MLPBlock):
    """SAM's two linear maps with GELU between them.

    Args:
        embedding_dim: E.
        mlp_dim: width between the maps.
    """

    def forward(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        """(N, G, G', E) to the same shape: x + lin2(GELU(lin1(norm(x)))); without gradients in the place of x."""
        if not torch.is_grad_enabled():
            mlp = super().forward
            return add_in_place(x, lambda part: mlp(norm(part)))
        if _in_groups(x) and not any(parameter.requires_grad for parameter in self.parameters()):
            return _FrozenMLP.apply(x, norm(x), self.lin1.weight, self.lin1.bias, self.lin2.weight, self.lin2.bias)
        return x + super().forward(norm(x))


def _in_groups(x: Tensor) -> bool:
    return x.device.type == "cpu"


class _FrozenMLP(torch.autograd.Function):
    """The sum of (N, G, G', E) and the MLP of another such tensor, for weights that need no gradients."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, normed: Tensor, weight_1: Tensor, bias_1: Tensor, weight_2: Tensor, bias_2: Tensor
    ) -> Tensor:
        out = x + bias_2
        stored = []
        for part, target in zip(slice_groups(normed), slice_groups(out), strict=True):
            hidden = F.linear(part, weight_1, bias_1)
            target += F.linear(F.gelu(hidden), weight_2)
            if ctx.needs_input_grad[1]:
                stored.append(hidden)
        ctx.save_for_backward(weight_1, weight_2, *stored)
        remember_autocast(ctx, x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight_1, weight_2, *stored = ctx.saved_tensors
        grad_normed = torch.empty_like(grad)
        with autocast_as_in_forward(ctx):
            for part, hidden, target in zip(slice_groups(grad), stored, slice_groups(grad_normed), strict=True):
                grad_activated = (part @ weight_2).to(hidden.dtype)
                target.copy_(torch.ops.aten.gelu_backward(grad_activated, hidden) @ weight_1)
        return grad, grad_normed, None, None, None, None
