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

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nnunetv2_masam.network.autocast import autocast_as_in_forward, remember_autocast
from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.lora import LoRA
from nnunetv2_masam.network.slices import add_in_place

_SCORES_AT_ONCE = 2**19  # on a CPU: 2 MiB in float32


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

    def forward(self, x: Tensor, norm: nn.LayerNorm, fact: FacT | None) -> Tensor:
        """(N, G, G', E) to the same shape: x + proj(attention(norm(x))).

        In prediction the increments are part of the weight, and the result takes the place of x.

        Args:
            x: tokens.
            norm: the normalisation before the attention.
            fact: the factors that blocks share; None leaves FacT out.
        """
        if self.training or torch.is_grad_enabled():
            return x + self._attend(*self._project(x, norm, fact))
        weight, bias = self._merged_weight(fact), self.qkv.bias
        return add_in_place(x, lambda part: self._attend(*F.linear(norm(part), weight, bias).chunk(3, dim=-1)))

    def _project(self, x: Tensor, norm: nn.LayerNorm, fact: FacT | None) -> tuple[Tensor, ...]:
        """(N, G, G', E) to query, key and value of that shape."""
        weight, bias = self.qkv.weight, self.qkv.bias
        if fact is None and self.lora is None:
            return F.linear(norm(x), weight, bias).chunk(3, dim=-1)
        if fact is None:
            normed, reduced = norm(x), None
        else:
            normed, reduced = fact.normalise_and_reduce(x, norm)
        q, k, v = (F.linear(normed, w, b) for w, b in zip(weight.chunk(3), bias.chunk(3), strict=True))
        if fact is not None and reduced is not None and self.fact is not None:
            q, v = fact.add_increments(q, v, reduced, self.fact)
        if self.lora is not None:
            q, v = self.lora.add_increments(q, v, normed)
        return q, k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Query, key and value (N, G, G', E) to what the block adds to its input, (N, G, G', E)."""
        size = (q.shape[1], q.shape[2])
        tiles = _tiles(size, self.grid)
        table_h = _relative_table(self.rel_pos_h, self.grid[0])
        table_w = _relative_table(self.rel_pos_w, self.grid[1])
        attended = []
        for tile, query, key, value in zip(
            tiles, *(_ToTiles.apply(part, tiles, self.num_heads) for part in (q, k, v)), strict=True
        ):
            h, w = tile.window
            if tile.window != self.grid:
                key, value = self._append_padding(key, value)
            attended.append(decomposed_attention(query, key, value, table_h[:h], table_w[:w]))
        return self.proj(_FromTiles.apply(tiles, size, *attended))

    def _merged_weight(self, fact: FacT | None) -> Tensor:
        """The projection's weight (3·E, E) with all increments added."""
        weight: Tensor = self.qkv.weight
        if fact is not None and self.fact is not None:
            weight = fact.merge(weight, self.fact)
        if self.lora is not None:
            weight = self.lora.merge(weight)
        return weight

    def _append_padding(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values with a further one each: those of a token that fills up a window."""
        _, key, value = self.qkv.bias.view(3, 1, self.num_heads, 1, -1)  # (1, heads, 1, E/heads) each
        return (
            torch.cat([k, key.to(k.dtype).expand(len(k), -1, -1, -1)], dim=2),
            torch.cat([v, value.to(v.dtype).expand(len(v), -1, -1, -1)], dim=2),
        )


class _Tile(NamedTuple):
    """A part of the slice that is whole windows, or less than one."""

    rows: slice
    columns: slice
    window: tuple[int, int]

    def of(self, x: Tensor, heads: int) -> Tensor:
        """(N, G, G', E) to a view of the part, (N, windows down, windows across, heads, h, w, E/heads)."""
        h, w = self.window
        part = x[:, self.rows, self.columns].unflatten(3, (heads, -1)).unflatten(2, (-1, w)).unflatten(1, (-1, h))
        return part.permute(0, 1, 3, 5, 2, 4, 6)


def _tiles(size: tuple[int, int], window: tuple[int, int]) -> list[_Tile]:
    """A slice of ``size`` tokens cut into at most four: what whole windows fill, and what remains below and beside."""
    return [
        _Tile(rows, columns, (min(rows.stop - rows.start, window[0]), min(columns.stop - columns.start, window[1])))
        for rows in _bands(size[0], window[0])
        for columns in _bands(size[1], window[1])
    ]


def _bands(size: int, window: int) -> list[slice]:
    """An axis cut into what whole windows fill, and what remains."""
    whole = size - size % window
    return [slice(start, stop) for start, stop in ((0, whole), (whole, size)) if stop > start]


class _ToTiles(torch.autograd.Function):
    """(N, G, G', E) to (N·windows, heads, T, E/heads) for every tile; stock slicing copies gradients thrice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tiles: list[_Tile], heads: int) -> tuple[Tensor, ...]:
        ctx.tiles, ctx.size = tiles, x.shape[1:3]
        return _cut(x, tiles, heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _join(grads, ctx.tiles, ctx.size), None, None


class _FromTiles(torch.autograd.Function):
    """The way back."""

    @staticmethod
    def forward(ctx: Any, tiles: list[_Tile], size: tuple[int, int], *parts: Tensor) -> Tensor:
        ctx.tiles, ctx.heads = tiles, parts[0].shape[1]
        return _join(parts, tiles, size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *_cut(grad, ctx.tiles, ctx.heads)


def _cut(x: Tensor, tiles: list[_Tile], heads: int) -> tuple[Tensor, ...]:
    return tuple(tile.of(x, heads).flatten(4, 5).flatten(0, 2) for tile in tiles)


def _join(parts: tuple[Tensor, ...], tiles: list[_Tile], size: tuple[int, int]) -> Tensor:
    windows = (size[0] // tiles[0].window[0]) * (size[1] // tiles[0].window[1])
    _, heads, _, head_dim = parts[0].shape
    x = parts[0].new_empty(len(parts[0]) // windows, *size, heads * head_dim)
    for tile, part in zip(tiles, parts, strict=True):
        target = tile.of(x, heads)
        target.copy_(part.view(target.shape))
    return x


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
    """:func:`decomposed_attention` on (n, T, d), n heads of which a few at a time; only its inputs are stored."""

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
    score_h, score_w = _position_scores(q, table_h, table_w)
    terms = [score_h[..., : len(table_h)], score_w[..., : len(table_w)]]
    if k.shape[1] > q.shape[1]:
        terms.append(_padding_score(score_h, score_w))
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


def _position_scores(q: Tensor, table_h: Tensor, table_w: Tensor) -> tuple[Tensor, Tensor]:
    """q·R_row and q·R_column: (…, h·w, d) to (…, h, w, g) and (…, h, w, g')."""
    q = q.unflatten(-2, (len(table_h), len(table_w)))
    return torch.einsum("...hwd,hgd->...hwg", q, table_h), torch.einsum("...hwd,wgd->...hwg", q, table_w)


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
