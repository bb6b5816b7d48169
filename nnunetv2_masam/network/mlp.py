"""The MLP of SAM's ViT blocks, around its residual connection.

Between its two products it is four times as wide as the tokens. On a CPU it therefore works on a few tokens at a time,
whose numbers stay in the cache, and stores what the gradients need and no more.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_masam.network.autocast import autocast_as_in_forward, remember_autocast
from nnunetv2_masam.network.sam_parts import MLPBlock

_TOKENS_AT_ONCE = 2560  # on a CPU


class ResidualMLP(MLPBlock):
    """SAM's two linear maps with GELU between them.

    Args:
        embedding_dim: E.
        mlp_dim: width between the maps.
    """

    def forward(self, x: Tensor, norm: nn.Module) -> Tensor:
        """(…, E) to the same shape: x + lin2(GELU(lin1(norm(x))))."""
        trained = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.parameters())
        if x.device.type != "cpu" or trained:
            return x + super().forward(norm(x))
        return _FrozenMLP.apply(x, norm(x), self.lin1.weight, self.lin1.bias, self.lin2.weight, self.lin2.bias)


class _FrozenMLP(torch.autograd.Function):
    """The sum of (…, E) and the MLP of another (…, E), for weights that need no gradients."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, normed: Tensor, weight_1: Tensor, bias_1: Tensor, weight_2: Tensor, bias_2: Tensor
    ) -> Tensor:
        out = x + bias_2
        hidden = []
        for part, total in zip(_parts(normed), _parts(out), strict=True):
            wide = F.linear(part, weight_1, bias_1)
            total += F.linear(F.gelu(wide), weight_2)
            if ctx.needs_input_grad[1]:
                hidden.append(wide)
        ctx.save_for_backward(weight_1, weight_2, *hidden)
        remember_autocast(ctx, x)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight_1, weight_2, *hidden = ctx.saved_tensors
        grad_normed = torch.empty_like(grad)
        with autocast_as_in_forward(ctx):
            for part, wide, target in zip(_parts(grad), hidden, _parts(grad_normed), strict=True):
                target.copy_(torch.ops.aten.gelu_backward((part @ weight_2).to(wide.dtype), wide) @ weight_1)
        return grad, grad_normed, None, None, None, None


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    return x.view(-1, x.shape[-1]).split(_TOKENS_AT_ONCE)
