"""FacT in tensor-train form: low-rank increments to the queries and values of all blocks.

q += s·V(Σq(U x)) and v += s·V(Σv(U x)), with U (E → R) and V (R → E) shared by all blocks and by query and value, and
Σq, Σv (R × R) each block's own; dropout between Σ and V; V starts at zero, so that training starts at the frozen
network. Source: Jie and Deng, FacT (AAAI 2023); MA-SAM, section 3.2.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nnunetv2_masam.network.autocast import autocast_as_in_forward, remember_autocast


class FacTCores(nn.Module):
    """One block's own factors, Σq and Σv."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.q = nn.Linear(rank, rank, bias=False)
        self.v = nn.Linear(rank, rank, bias=False)


class FacT(nn.Module):
    """The factors U and V that all blocks share.

    Args:
        dim: E, embedding width.
        rank: R.
        scale: s.
        dropout: probability of dropping an entry between Σ and V in training.
    """

    def __init__(self, dim: int, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.scale = scale
        self.u = nn.Linear(dim, rank, bias=False)
        self.v = nn.Linear(rank, dim, bias=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.v.weight)

    def normalise_and_reduce(self, x: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        """``norm(x)``, (…, E), and s·U of it, (…, R)."""
        normed, reduced = _NormaliseAndReduce.apply(x, norm.weight, norm.bias, norm.eps, self.u.weight)
        return normed, self.scale * reduced

    def add_increments(self, q: Tensor, v: Tensor, reduced: Tensor, cores: FacTCores) -> tuple[Tensor, Tensor]:
        """Query and value (…, E) with the increments for an input reduced to (…, R)."""
        return q + self.v(self.dropout(cores.q(reduced))), v + self.v(self.dropout(cores.v(reduced)))

    def merge(self, qkv_weight: Tensor, cores: FacTCores) -> Tensor:
        """The projection's weight (3·E, E) with the increments added: the same outputs for one product fewer."""
        dim = qkv_weight.shape[1]
        merged = qkv_weight.clone()
        scaled_v = self.scale * self.v.weight
        merged[:dim] += scaled_v @ (cores.q.weight @ self.u.weight)
        merged[-dim:] += scaled_v @ (cores.v.weight @ self.u.weight)
        return merged


class _NormaliseAndReduce(torch.autograd.Function):
    """LayerNorm of (…, E) and its product with U; only U's gradient needs the normalised input, which is not stored."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, u: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight, bias, u)
        ctx.eps = eps
        remember_autocast(ctx, x)
        normed = F.layer_norm(x, x.shape[-1:], weight, bias, eps)
        return normed, F.linear(normed, u)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_normed: Tensor, grad_reduced: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, u = ctx.saved_tensors
        needed = ctx.needs_input_grad[:3]
        with autocast_as_in_forward(ctx):
            with torch.enable_grad():
                x, weight, bias = (
                    t.detach().requires_grad_(need) for t, need in zip((x, weight, bias), needed, strict=True)
                )
                normed = F.layer_norm(x, x.shape[-1:], weight, bias, ctx.eps)
            grad_u = grad_reduced.flatten(0, -2).t() @ normed.detach().flatten(0, -2)
            grad_normed = grad_normed + grad_reduced @ u
        inputs = [t for t in (x, weight, bias) if t.requires_grad]
        grads = iter(torch.autograd.grad(normed, inputs, grad_normed) if inputs else ())
        return *(next(grads) if need else None for need in needed), None, grad_u
