"""SAM's self-attention: decomposed relative positions, global or in windows, with FacT or LoRA on query and value.

The result is that of SAM's ``Attention`` inside ``window_partition``. Two things are computed differently:

- The scores q·kᵀ/√d + q·R_row + q·R_column are one product of lengthened vectors, q' = [q/√d, q·R_row, q·R_column] and
  k' = [k, one-hot row, one-hot column], so that ``scaled_dot_product_attention`` needs no (tokens × tokens) bias.
- All padding tokens of a window share one key, whose score is the log-sum-exp of theirs; their queries are skipped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.lora import LoRA
from nnunetv2_masam.network.projection import QKV
from nnunetv2_masam.network.windows import attend_in_windows

_FUSED_MULTIPLE = 8  # fused kernels want vectors of a multiple of this length


def decomposed_attention(q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    """softmax(q·kᵀ/√d + q·R_row + q·R_column)·v over a tile of h × w tokens of a window of g × g' tokens.

    Args:
        q: (n, heads, h·w, d), the shape of the result.
        k, v: of the same shape, or (n, heads, h·w + 1, d) with that of the padding: all tokens of the window that lie
            outside the tile, below and to the right of it.
        table_h: (h, g, d), for every row of the tile a vector for each row of the window.
        table_w: (w, g', d), the same for columns.

    Source: Li et al., MViTv2 (2022), eq. 3; used by SAM without change.
    """
    score_h, score_w = position_scores(q, table_h, table_w)  # (n, heads, h, w, g), (n, heads, h, w, g')
    query = [q * q.shape[-1] ** -0.5, score_h.flatten(2, 3), score_w.flatten(2, 3)]
    positions = one_hot_positions(table_h, table_w).to(k)  # (h·w, g + g')
    if k.shape[2] > q.shape[2]:
        query.append(padding_score(score_h, score_w).flatten(2, 3).unsqueeze(-1))
        positions = torch.block_diag(positions, positions.new_ones(1, 1))  # (h·w + 1, g + g' + 1)
    head_dim, longer = q.shape[-1], q.shape[-1] + positions.shape[1]
    spare = -longer % _FUSED_MULTIPLE
    query_longer = F.pad(torch.cat(query, -1), (0, spare))
    key_longer = F.pad(torch.cat([k, positions.expand(*k.shape[:2], -1, -1)], -1), (0, spare))
    value_longer = F.pad(v, (0, longer + spare - head_dim))
    return F.scaled_dot_product_attention(query_longer, key_longer, value_longer, scale=1.0)[..., :head_dim]


class Attention(nn.Module):
    """Multi-head self-attention of SAM's image encoder with low-rank increments on query and value.

    ``window`` is the number of tokens that attend to each other, (down, across): a window, or the whole slice, as it
    must be without relative positions. Rank 0 leaves FacT or LoRA out.
    """

    def __init__(
        self, dim: int, heads: int, window: tuple[int, int], fact_rank: int, lora_rank: int = 0, rel_pos: bool = True
    ) -> None:
        super().__init__()
        self.window = window
        head_dim = dim // heads
        self.qkv = QKV(dim, heads)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window[0] - 1, head_dim)) if rel_pos else None
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window[1] - 1, head_dim)) if rel_pos else None
        self.fact = FacTCores(fact_rank) if fact_rank else None
        self.lora = LoRA(dim, lora_rank) if lora_rank else None

    def forward(
        self, x: Tensor, fact: FacT | None = None, attention: Callable[..., Tensor] = decomposed_attention
    ) -> Tensor:
        """Normalised tokens (N, G, G', E) to the same shape, with the factors ``fact`` that all blocks share.

        ``attention`` is :func:`decomposed_attention` or an equivalent.
        """
        q, k, v = self.qkv(x, fact, self.fact, self.lora)  # (N, G, G', heads, d) each
        if self.rel_pos_h is None or self.rel_pos_w is None:
            size = (x.shape[1], x.shape[2])
            whole = attend_in_windows(q, k, v, size, None, lambda q, k, v, _: F.scaled_dot_product_attention(q, k, v))
            return self.proj(whole)
        table_h, table_w = relative_table(self.rel_pos_h), relative_table(self.rel_pos_w)
        padding = None
        if x.shape[1] % self.window[0] or x.shape[2] % self.window[1]:
            _, *padding = self.qkv(x.new_zeros(x.shape[-1]))  # whose increments are zero

        def attend(q: Tensor, k: Tensor, v: Tensor, tile: tuple[int, int]) -> Tensor:
            return attention(q, k, v, table_h[: tile[0]], table_w[: tile[1]])

        return self.proj(attend_in_windows(q, k, v, self.window, padding, attend))


def position_scores(q: Tensor, table_h: Tensor, table_w: Tensor) -> tuple[Tensor, Tensor]:
    """q·R_row and q·R_column: (…, h·w, d) to (…, h, w, g) and (…, h, w, g')."""
    q = q.unflatten(-2, (len(table_h), len(table_w)))
    return torch.einsum("...hwd,hgd->...hwg", q, table_h), torch.einsum("...hwd,wgd->...hwg", q, table_w)


def padding_score(score_h: Tensor, score_w: Tensor) -> Tensor:
    """(…, h, w), the log of the sum of exp(q·R_row + q·R_column) over the positions outside the tile."""
    h, w = score_h.shape[-3], score_h.shape[-2]
    below = score_h[..., h:].logsumexp(-1) + score_w.logsumexp(-1)
    beside = score_h[..., :h].logsumexp(-1) + score_w[..., w:].logsumexp(-1)
    return torch.logaddexp(below, beside)  # the first or second is -inf where nothing is below or beside


def relative_table(rel_pos: Tensor) -> Tensor:
    """(2·length − 1, d) to (length, length, d): entry [i, j] is the vector for distance i − j."""
    length = (len(rel_pos) + 1) // 2
    positions = torch.arange(length, device=rel_pos.device)
    return rel_pos[positions[:, None] - positions[None, :] + length - 1]


def one_hot_positions(table_h: Tensor, table_w: Tensor) -> Tensor:
    """(h·w, g + g'): for every token of a tile a one at its row and a one at its column."""
    h, w = len(table_h), len(table_w)
    rows = torch.eye(h, table_h.shape[1], device=table_h.device).repeat_interleave(w, dim=0)
    columns = torch.eye(w, table_w.shape[1], device=table_w.device).repeat(h, 1)
    return torch.cat([rows, columns], dim=1)
