"""SAM's self-attention: decomposed relative positions, global or in windows, with FacT or LoRA on query and value.

Same result as SAM's ``Attention`` with ``window_partition`` around it, by less work and memory:

- Scores are q·kᵀ/√d + q·R_row + q·R_column. On a CPU they are computed for a few heads at a time, which stay in its
  cache, and again in the backward pass. Elsewhere they are one product of longer vectors, q' = [q/√d, q·R_row,
  q·R_column] and k' = [k, one-hot row, one-hot column], for the stock fused kernels. Neither ever stores a
  (tokens × tokens) tensor, in training neither.
- The tokens that fill up a window at the border all have the same key and value, the bias of the projection. They are
  one further key, whose score holds the log of how much they weigh together; their queries are not needed by anyone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_masam.network.autocast import autocast_as_in_forward, remember_autocast
from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.lora import LoRA

_SCORES_AT_ONCE = 2**20  # on a CPU: 4 MiB in float32


class Attention(nn.Module):
    """Multi-head self-attention of SAM's image encoder with low-rank increments on query and value.

    Args:
        dim: E, embedding width.
        num_heads: heads.
        grid: token grid that attention runs over: the window, or the whole slice for global attention.
        fact_rank: R, rank of FacT; 0 leaves it out.
        lora_rank: R, rank of LoRA; 0 leaves it out.
    """

    def __init__(self, dim: int, num_heads: int, grid: tuple[int, int], fact_rank: int, lora_rank: int = 0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.grid = grid
        head_dim = dim // num_heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid[0] - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid[1] - 1, head_dim))
        self.fact = FacTCores(fact_rank) if fact_rank else None
        self.lora = LoRA(dim, lora_rank) if lora_rank else None

    def forward(self, x: Tensor, norm: nn.Module, fact: FacT | None) -> Tensor:
        """(N, G, G', E) to (N, G, G', E), the attention of ``norm(x)``; ``fact`` has the factors that blocks share."""
        qkv = self._project(x, norm, fact)
        table_h = _relative_table(self.rel_pos_h, self.grid[0])
        table_w = _relative_table(self.rel_pos_w, self.grid[1])
        heights, widths = (_bands(size, side) for size, side in zip(x.shape[1:3], self.grid, strict=True))
        rows = []
        for row in zip(*(part.split(heights, dim=1) for part in qkv), strict=True):
            tiles = zip(*(part.split(widths, dim=2) for part in row), strict=True)
            rows.append(torch.cat([self._attend(q, k, v, table_h, table_w) for q, k, v in tiles], dim=2))
        return self.proj(torch.cat(rows, dim=1))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
        """(N, rows, columns, E) to the same, for a part of the slice that is whole windows, or less than one."""
        size = q.shape[1:3]
        h, w = min(size[0], self.grid[0]), min(size[1], self.grid[1])
        q, k, v = (self._split(part, (h, w)) for part in (q, k, v))
        if (h, w) != self.grid:
            k, v = self._append_padding(k, v)
        return self._join(decomposed_attention(q, k, v, table_h[:h], table_w[:w]), size, (h, w))

    def _project(self, x: Tensor, norm: nn.Module, fact: FacT | None) -> tuple[Tensor, ...]:
        """(N, G, G', E) to query, key and value of that shape."""
        weight, bias = self.qkv.weight, self.qkv.bias
        normed = norm(x)
        if not self.training and not torch.is_grad_enabled():
            return F.linear(normed, self._merged_weight(fact), bias).chunk(3, dim=-1)
        if (fact is None or self.fact is None) and self.lora is None:
            return F.linear(normed, weight, bias).chunk(3, dim=-1)
        q, k, v = (F.linear(normed, w, b) for w, b in zip(weight.chunk(3), bias.chunk(3), strict=True))
        if fact is not None and self.fact is not None:
            q, v = fact.add_increments(q, v, fact.reduce(x, norm), self.fact)
        if self.lora is not None:
            q, v = self.lora.add_increments(q, v, normed)
        return q, k, v

    def _merged_weight(self, fact: FacT | None) -> Tensor:
        """The projection's weight (3·E, E) with all increments added."""
        weight: Tensor = self.qkv.weight
        if fact is not None and self.fact is not None:
            weight = fact.merge(weight, self.fact)
        if self.lora is not None:
            weight = self.lora.merge(weight)
        return weight

    def _split(self, part: Tensor, tile: tuple[int, int]) -> Tensor:
        """(N, rows, columns, E) to (N·tiles, heads, T, E/heads)."""
        h, w = tile
        part = part.unflatten(3, (self.num_heads, -1)).unflatten(2, (-1, w)).unflatten(1, (-1, h))
        part = part.permute(0, 1, 3, 5, 2, 4, 6)  # (N, tiles down, tiles across, heads, h, w, E/heads)
        return part.reshape(-1, self.num_heads, h * w, part.shape[-1])

    def _append_padding(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values with a further one each: those of a token that fills up a window."""
        _, key, value = self.qkv.bias.view(3, 1, self.num_heads, 1, -1)  # (1, heads, 1, E/heads) each
        return (
            torch.cat([k, key.to(k.dtype).expand(len(k), -1, -1, -1)], dim=2),
            torch.cat([v, value.to(v.dtype).expand(len(v), -1, -1, -1)], dim=2),
        )

    def _join(self, out: Tensor, size: torch.Size, tile: tuple[int, int]) -> Tensor:
        """(N·tiles, heads, T, E/heads) to (N, rows, columns, E)."""
        h, w = tile
        out = out.view(-1, size[0] // h, size[1] // w, self.num_heads, h, w, out.shape[-1])
        return out.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, *size, self.num_heads * out.shape[-1])


def decomposed_attention(q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    """softmax(q·kᵀ/√d + q·R_row + q·R_column)·v over a tile of h × w tokens, of a grid of g × g'.

    Args:
        q: (n, heads, h·w, d).
        k, v: (n, heads, h·w, d), or (n, heads, h·w + 1, d) with the one of all the tokens of the grid that lie outside
            the tile, below and to the right of it.
        table_h: (h, g, d), for every row of the tile a vector for each row of the grid.
        table_w: (w, g', d), the same for columns.

    Returns:
        (n, heads, h·w, d).

    Source: Li et al., MViTv2 (2022), eq. 3; used by SAM without change.
    """
    if q.device.type != "cpu":
        return _fused_attention(q, k, v, table_h, table_w)
    heads = (q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
    return _AttentionByParts.apply(*heads, table_h, table_w).unflatten(0, q.shape[:2])


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    """:func:`decomposed_attention` by one call of a fused kernel on lengthened vectors."""
    score_h, score_w = _position_scores(q, table_h, table_w)  # (n, heads, h, w, g), (n, heads, h, w, g')
    head_dim, tokens = q.shape[-1], q.shape[2]
    query = [q * head_dim**-0.5, score_h.flatten(2, 3), score_w.flatten(2, 3)]
    positions = _one_hot_positions(table_h, table_w, k)  # (h·w, g + g')
    if k.shape[2] > tokens:
        query.append(_padding_score(score_h, score_w).flatten(2, 3).unsqueeze(-1))
        positions = torch.block_diag(positions, positions.new_ones(1, 1))  # (h·w + 1, g + g' + 1)
    longer = head_dim + positions.shape[1]
    spare = -longer % 8  # fused kernels want a multiple of 8
    lengthened = F.pad(torch.cat(query, -1), (0, spare))
    key = F.pad(torch.cat([k, positions.expand(*k.shape[:2], -1, -1)], -1), (0, spare))
    value = F.pad(v, (0, longer + spare - head_dim))
    return F.scaled_dot_product_attention(lengthened, key, value, scale=1.0)[..., :head_dim]


class _AttentionByParts(torch.autograd.Function):
    """:func:`decomposed_attention` on (n·heads, T, d), a few heads at a time; only its inputs are stored."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v, table_h, table_w)
        remember_autocast(ctx, q)
        out = torch.empty_like(v[:, : q.shape[1]])
        for part in _parts(q, k):
            out[part] = _attention(q[part], k[part], v[part], table_h, table_w)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *tables = ctx.saved_tensors
        grads = [torch.empty_like(heads) for heads in (q, k, v)]
        tables = [table.detach().requires_grad_(ctx.needs_input_grad[3 + i]) for i, table in enumerate(tables)]
        table_grads = [torch.zeros_like(table) if table.requires_grad else None for table in tables]
        trained = [table for table in tables if table.requires_grad]
        for part in _parts(q, k):
            with autocast_as_in_forward(ctx):
                part_grads = _attention_grads(q[part], k[part], v[part], (tables[0], tables[1]), trained, grad[part])
            for whole, piece in zip(grads, part_grads, strict=False):
                whole[part] = piece
            for total, piece in zip((g for g in table_grads if g is not None), part_grads[3:], strict=True):
                total += piece
        return *grads, *table_grads


def _parts(q: Tensor, k: Tensor) -> list[slice]:
    at_once = max(1, _SCORES_AT_ONCE // (q.shape[1] * k.shape[1]))
    return [slice(start, start + at_once) for start in range(0, len(q), at_once)]


def _attention(q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    """The formula on (n, T, d)."""
    return _add_terms(q, k, _position_terms(q, k, table_h, table_w)).softmax(dim=-1) @ v


def _attention_grads(
    q: Tensor, k: Tensor, v: Tensor, tables: tuple[Tensor, Tensor], trained: list[Tensor], grad: Tensor
) -> list[Tensor]:
    """Gradients of :func:`_attention` for q, k, v and the ``trained`` ones of the tables."""
    query = q.detach().requires_grad_()
    with torch.enable_grad():
        terms = _position_terms(query, k, *tables)
    scores = _add_terms(q, k, [term.detach() for term in terms]).requires_grad_()
    with torch.enable_grad():
        weights = scores.softmax(dim=-1)
    grad_v = weights.detach().transpose(1, 2) @ grad
    (grad_scores,) = torch.autograd.grad(weights, scores, grad @ v.transpose(1, 2))
    grad_q, *grad_tables = torch.autograd.grad(terms, [query, *trained], _sum_to_terms(grad_scores, terms))
    grad_scores *= q.shape[-1] ** -0.5
    return [grad_q + grad_scores @ k, grad_scores.transpose(1, 2) @ q, grad_v, *grad_tables]


def _position_terms(q: Tensor, k: Tensor, table_h: Tensor, table_w: Tensor) -> list[Tensor]:
    """What is added to the scores, (n, h, w, h), (n, h, w, w), and the score of the padding, (n, h, w), if any."""
    score_h, score_w = _position_scores(q, table_h, table_w)
    terms = [score_h[..., : len(table_h)], score_w[..., : len(table_w)]]
    if k.shape[1] > q.shape[1]:
        terms.append(_padding_score(score_h, score_w))
    return terms


def _add_terms(q: Tensor, k: Tensor, terms: list[Tensor]) -> Tensor:
    """Scores (n, T, T), or (n, T, T + 1) with padding."""
    score_h, score_w, *padding = terms
    bias = (score_h[..., None] + score_w[..., None, :]).flatten(3, 4).flatten(1, 2)
    if padding:
        bias = torch.cat([bias, padding[0].flatten(1, 2)[..., None]], dim=-1)
    return bias.baddbmm_(q.to(bias.dtype), k.to(bias.dtype).transpose(1, 2), alpha=q.shape[-1] ** -0.5)


def _sum_to_terms(grad_scores: Tensor, terms: list[Tensor]) -> list[Tensor]:
    """The gradients of the terms from that of the scores."""
    h, w = terms[0].shape[1:3]
    grid = grad_scores[..., : h * w].unflatten(2, (h, w)).unflatten(1, (h, w))  # (n, h, w, h, w)
    grads = [grid.sum(4), grid.sum(3)]
    if len(terms) == 3:
        grads.append(grad_scores[..., -1].unflatten(1, (h, w)))
    return grads


def _position_scores(q: Tensor, table_h: Tensor, table_w: Tensor) -> tuple[Tensor, Tensor]:
    """q·R_row and q·R_column: (…, h·w, d) to (…, h, w, g) and (…, h, w, g')."""
    q = q.unflatten(-2, (len(table_h), len(table_w)))
    columns = q.transpose(-3, -2) @ table_w.transpose(1, 2)  # (…, w, h, g')
    return q @ table_h.transpose(1, 2), columns.transpose(-3, -2)


def _padding_score(score_h: Tensor, score_w: Tensor) -> Tensor:
    """(…, h, w), the log of the sum of exp(q·R_row + q·R_column) over the positions outside the tile."""
    h, w = score_h.shape[-3], score_h.shape[-2]
    below, beside = score_h.shape[-1] > h, score_w.shape[-1] > w
    parts = []
    if below:
        parts.append(score_h[..., h:].logsumexp(-1) + score_w.logsumexp(-1))
    if beside:
        parts.append(score_h[..., :h].logsumexp(-1) + score_w[..., w:].logsumexp(-1))
    return torch.logaddexp(*parts) if len(parts) == 2 else parts[0]


def _bands(size: int, window: int) -> list[int]:
    """Extents that an axis is cut into: what whole windows fill, and what remains."""
    remainder = size % window
    return [extent for extent in (size - remainder, remainder) if extent]


def _relative_table(rel_pos: Tensor, length: int) -> Tensor:
    """(2·length − 1, d) to (length, length, d): entry [i, j] is the vector for distance i − j."""
    positions = torch.arange(length, device=rel_pos.device)
    return rel_pos[positions[:, None] - positions[None, :] + length - 1]


def _one_hot_positions(table_h: Tensor, table_w: Tensor, like: Tensor) -> Tensor:
    """(h·w, g + g'): for every token of a tile a one at its row and a one at its column."""
    h, w = len(table_h), len(table_w)
    rows = torch.eye(h, table_h.shape[1], dtype=like.dtype, device=like.device).repeat_interleave(w, dim=0)
    columns = torch.eye(w, table_w.shape[1], dtype=like.dtype, device=like.device).repeat(h, 1)
    return torch.cat([rows, columns], dim=1)
