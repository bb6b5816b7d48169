"""Attention with relative positions on a CPU: a few heads at a time, and only its inputs are stored.

Alone it takes 13 % off the peak memory of a training step, with the adapters recomputed 26 %
(``benchmarks/results/kernels-traced.json``).

The scores of a few heads stay in the cache, and are computed again in the backward pass. The plain form stores its
lengthened vectors, which are twice as many numbers, and computes longer products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nnunetv2_masam.network.attention import padding_score, position_scores
from nnunetv2_masam.network.autocast import autocast_as_in_forward, remember_autocast

_SCORES_AT_ONCE = 2**19  # 2 MiB in float32


def attention_by_parts(q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    """:func:`~nnunetv2_masam.network.attention.decomposed_attention` with the same arguments and result."""
    heads = (q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
    return _AttentionByParts.apply(*heads, table_h, table_w).unflatten(0, q.shape[:2])


class _AttentionByParts(torch.autograd.Function):
    """:func:`attention_by_parts` on (n, T, d), n heads of which a few at a time; only its inputs are stored."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v, table_h, table_w)
        remember_autocast(ctx, q)
        terms = _position_terms(q, k, table_h, table_w)
        out = torch.empty_like(v[:, : q.shape[1]])
        for part in _parts(q, k):
            out[part] = _scores(q[part], k[part], [term[part] for term in terms]).softmax(dim=-1) @ v[part]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *tables = ctx.saved_tensors
        with autocast_as_in_forward(ctx):
            with torch.enable_grad():
                query = q.detach().requires_grad_()
                tables = [t.detach().requires_grad_(ctx.needs_input_grad[3 + i]) for i, t in enumerate(tables)]
                terms = _position_terms(query, k, *tables)
            added = [term.detach() for term in terms]
            scaled_k = k * q.shape[-1] ** -0.5
            grad_q, grad_k, grad_v = (torch.empty_like(heads) for heads in (q, k, v))
            grad_terms = [torch.empty_like(term) for term in added]
            for part in _parts(q, k):
                weights = _scores(q[part], k[part], [term[part] for term in added]).softmax(dim=-1)
                grad_v[part] = weights.transpose(1, 2) @ grad[part]
                grad_weights = (grad[part] @ v[part].transpose(1, 2)).to(weights.dtype)
                grad_scores = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
                grad_q[part] = grad_scores @ scaled_k[part]
                grad_k[part] = grad_scores.transpose(1, 2) @ q[part]
                _sum_to_terms(grad_scores, [term[part] for term in grad_terms])
            trained = [table for table in tables if table.requires_grad]
            grad_positions, *grad_trained = torch.autograd.grad(terms, [query, *trained], grad_terms)
        grad_q += grad_positions
        grad_k *= q.shape[-1] ** -0.5
        grad_tables = iter(grad_trained)
        return grad_q, grad_k, grad_v, *(next(grad_tables) if table.requires_grad else None for table in tables)


def _parts(q: Tensor, k: Tensor) -> list[slice]:
    at_once = max(2, _SCORES_AT_ONCE // (q.shape[1] * k.shape[1]))  # one head would be shared out between threads
    return [slice(start, start + at_once) for start in range(0, len(q), at_once)]


def _position_terms(q: Tensor, k: Tensor, table_h: Tensor, table_w: Tensor) -> list[Tensor]:
    """What is added to the scores, (n, h, w, h), (n, h, w, w), and the score of the padding, (n, h, w), if any."""
    score_h, score_w = position_scores(q, table_h, table_w)
    terms = [score_h[..., : len(table_h)], score_w[..., : len(table_w)]]
    if k.shape[1] > q.shape[1]:
        terms.append(padding_score(score_h, score_w))
    return terms


def _scores(q: Tensor, k: Tensor, terms: list[Tensor]) -> Tensor:
    """q·kᵀ/√d with the terms added: (n, T, T), or (n, T, T + 1) with padding."""
    score_h, score_w, *padding = terms
    tile = score_h.shape[1:3]
    scores = score_h.new_empty(*q.shape[:2], k.shape[1])
    inside = scores[..., : q.shape[1]].unflatten(2, tile).unflatten(1, tile)  # (n, h, w, h, w)
    torch.add(score_h[..., None], score_w[..., None, :], out=inside)
    if padding:
        scores[..., -1] = padding[0].flatten(1, 2)
    return scores.baddbmm_(q.to(scores.dtype), k.to(scores.dtype).transpose(1, 2), alpha=q.shape[-1] ** -0.5)


def _sum_to_terms(grad_scores: Tensor, grad_terms: list[Tensor]) -> None:
    """Writes the gradients of the terms, from that of the scores."""
    tile = grad_terms[0].shape[1:3]
    inside = grad_scores[..., : tile.numel()].unflatten(2, tile).unflatten(1, tile)  # (n, h, w, h, w)
    torch.sum(inside, 4, out=grad_terms[0])
    torch.sum(inside, 3, out=grad_terms[1])
    if len(grad_terms) == 3:
        grad_terms[2].copy_(grad_scores[..., -1].unflatten(1, tile))
