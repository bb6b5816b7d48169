"""SAM's self-attention: decomposed relative positions, global or in windows, with FacT on query and value.

Same result as SAM's ``Attention`` with ``window_partition`` around it, by less work:

- Scores are q·kᵀ/√d + q·R_row + q·R_column. Written as one product of longer vectors, q' = [q/√d, q·R_row, q·R_column]
  and k' = [k, one-hot row, one-hot column], they go through the stock fused kernels and no (tokens × tokens) tensor is
  ever stored, in training neither.
- A window's padding tokens are zeros before the projection, so their query, key and value are the bias: they are
  filled in afterwards instead of being projected, and dropped before the output projection.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_masam.network.fact import FacT, FacTCores

# Up to this many tokens, a stored bias costs less than lengthening query, key and value.
_MAX_TOKENS_WITH_BIAS = 256


class Attention(nn.Module):
    """Multi-head self-attention of SAM's image encoder with FacT increments on query and value.

    Args:
        dim: E, embedding width.
        num_heads: heads.
        grid: token grid that attention runs over: the window, or the whole slice for global attention.
        windowed: whether the slice is cut into windows of ``grid``.
        fact_rank: R, rank of FacT; 0 leaves it out.
    """

    def __init__(self, dim: int, num_heads: int, grid: tuple[int, int], windowed: bool, fact_rank: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.grid = grid
        self.windowed = windowed
        head_dim = dim // num_heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid[0] - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid[1] - 1, head_dim))
        self.fact = FacTCores(fact_rank) if fact_rank else None

    def forward(self, x: Tensor, fact: FacT | None) -> Tensor:
        """(N, G, G', E) to (N, G, G', E); ``fact`` holds the factors that all blocks share."""
        size = x.shape[1:3]
        if self.windowed and (size[0] % self.grid[0] or size[1] % self.grid[1]):
            qkv = self._project(x, fact, with_bias=False)
            qkv = F.pad(qkv, (0, 0, 0, -size[1] % self.grid[1], 0, -size[0] % self.grid[0]))
            qkv = qkv + self.qkv.bias
        else:
            qkv = self._project(x, fact, with_bias=True)
        padded = qkv.shape[1:3]
        q, k, v = self._split_heads(qkv)
        out = decomposed_attention(q, k, v, self.rel_pos_h, self.rel_pos_w, self.grid)  # (N·w, heads, T, E/heads)
        return self.proj(self._join_heads(out, padded)[:, : size[0], : size[1]])

    def _project(self, x: Tensor, fact: FacT | None, with_bias: bool) -> Tensor:
        """(N, G, G', E) to (N, G, G', 3·E)."""
        bias = self.qkv.bias if with_bias else None
        if fact is None or self.fact is None:
            return F.linear(x, self.qkv.weight, bias)
        if not self.training and not torch.is_grad_enabled():
            return F.linear(x, fact.merge(self.qkv.weight, self.fact), bias)
        return fact.add_increments(F.linear(x, self.qkv.weight, bias), x, self.fact)

    def _split_heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, rows, columns, 3·E) to query, key and value of (N·windows, heads, T, E/heads)."""
        n, rows, columns, _ = qkv.shape
        h, w = self.grid
        qkv = qkv.view(n, rows // h, h, columns // w, w, 3, self.num_heads, -1)
        qkv = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7)  # (3, N, windows down, windows across, heads, h, w, E/heads)
        q, k, v = qkv.reshape(3, -1, self.num_heads, h * w, qkv.shape[-1])
        return q, k, v

    def _join_heads(self, out: Tensor, size: torch.Size) -> Tensor:
        """(N·windows, heads, T, E/heads) to (N, rows, columns, E)."""
        rows, columns = size
        h, w = self.grid
        out = out.view(-1, rows // h, columns // w, self.num_heads, h, w, out.shape[-1])
        return out.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, rows, columns, self.num_heads * out.shape[-1])


def decomposed_attention(
    q: Tensor, k: Tensor, v: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, grid: tuple[int, int]
) -> Tensor:
    """softmax(q·kᵀ/√d + q·R_row + q·R_column)·v over a grid of h × w tokens.

    Args:
        q, k, v: (n, heads, h·w, d).
        rel_pos_h: (2·h − 1, d), a vector for every distance in rows.
        rel_pos_w: (2·w − 1, d), the same for columns.
        grid: (h, w).

    Returns:
        (n, heads, h·w, d).

    Source: Li et al., MViTv2 (2022), eq. 3; used by SAM without change.
    """
    h, w = grid
    rows = q.unflatten(2, grid)  # (n, heads, h, w, d)
    score_h = torch.einsum("bnhwd,hkd->bnhwk", rows, _relative_table(rel_pos_h, h))
    score_w = torch.einsum("bnhwd,wkd->bnhwk", rows, _relative_table(rel_pos_w, w))
    if h * w <= _MAX_TOKENS_WITH_BIAS:
        bias = score_h[..., :, None] + score_w[..., None, :]  # (n, heads, h, w, h, w)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.flatten(4, 5).flatten(2, 3))
    head_dim = q.shape[-1]
    spare = -(head_dim + h + w) % 8  # fused kernels want a multiple of 8
    query = torch.cat([q * head_dim**-0.5, F.pad(torch.cat([score_h, score_w], -1), (0, spare)).flatten(2, 3)], -1)
    one_hot = F.pad(_one_hot_positions(grid, k), (0, spare))
    key = torch.cat([k, one_hot.expand(*k.shape[:2], -1, -1)], -1)
    value = F.pad(v, (0, h + w + spare))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :head_dim]


def _relative_table(rel_pos: Tensor, length: int) -> Tensor:
    """(2·length − 1, d) to (length, length, d): entry [i, j] is the vector for distance i − j."""
    positions = torch.arange(length, device=rel_pos.device)
    return rel_pos[positions[:, None] - positions[None, :] + length - 1]


def _one_hot_positions(grid: tuple[int, int], like: Tensor) -> Tensor:
    """(h·w, h + w): for every token a one at its row and a one at its column."""
    h, w = grid
    rows = torch.eye(h, dtype=like.dtype, device=like.device).repeat_interleave(w, dim=0)
    columns = torch.eye(w, dtype=like.dtype, device=like.device).repeat(h, 1)
    return torch.cat([rows, columns], dim=1)
