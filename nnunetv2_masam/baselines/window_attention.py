"""nnFormer's attention within windows of tokens; every second block shifts its windows by half their side.

B is the batch, (D, H, W) the token grid, E the width of a token, T = window^3 the tokens of a window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunetv2_masam.baselines.monai import monai_module

NEEDED_BY = "nnFormer"


class AttentionLevel(nn.Module):
    """Blocks on one token grid; every second one has its windows shifted by half their side.

    Args:
        width: width of a token.
        heads: attention heads.
        window: tokens along a side of a window.
        shortest: shortest side of the token grid. If it does not exceed ``window``, windows have this side and are not
            shifted.
        rates: stochastic depth of each block.
        first_is_cross: whether the first block takes keys and values from the skip connection.
    """

    def __init__(
        self, width: int, heads: int, window: int, shortest: int, rates: Sequence[float], *, first_is_cross: bool
    ) -> None:
        super().__init__()
        shift = window // 2 if shortest > window else 0
        self.blocks = nn.ModuleList(
            AttentionBlock(
                width, heads, min(window, shortest), shift * (index % 2), rate, first_is_cross and index == 0
            )
            for index, rate in enumerate(rates)
        )

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Return the shape of ``x``, (B, D, H, W, E); a decoder's first block also takes ``skip`` of this shape."""
        for block in self.blocks:
            x = block(x, skip)
            skip = None
        return x


class AttentionBlock(nn.Module):
    """Window attention and an MLP, each on the normalised input and added to it."""

    def __init__(self, width: int, heads: int, window: int, shift: int, rate: float, cross: bool) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window, cross)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = monai_module("monai.networks.blocks", NEEDED_BY).MLPBlock(width, 4 * width)
        self.drop_path = monai_module("monai.networks.layers", NEEDED_BY).DropPath(rate)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Return the shape of ``x``, (B, D, H, W, E); keys and values come from ``skip`` where it is given."""
        sides = x.shape[1:4]
        padding = [(-side) % self.window for side in sides]
        attended = self.attn(
            self._windows(self.norm1(x), padding),
            None if skip is None else self._windows(self.norm1(skip), padding),
            self._mask([side + more for side, more in zip(sides, padding, strict=True)], x),
        )
        residual = x if skip is None else x + skip
        x = residual + self.drop_path(self._from_windows(attended, sides, padding))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _windows(self, x: Tensor, padding: Sequence[int]) -> Tensor:
        depth, height, width = padding
        x = functional.pad(x, (0, 0, 0, width, 0, height, 0, depth))
        if self.shift:
            x = x.roll((-self.shift,) * 3, dims=(1, 2, 3))
        return _split(x, self.window)

    def _from_windows(self, windows: Tensor, sides: Sequence[int], padding: Sequence[int]) -> Tensor:
        w, e = self.window, windows.shape[-1]
        d, h, v = ((side + more) // w for side, more in zip(sides, padding, strict=True))
        x = windows.view(-1, d, h, v, w, w, w, e).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, d * w, h * w, v * w, e)
        if self.shift:
            x = x.roll((self.shift,) * 3, dims=(1, 2, 3))
        return x[:, : sides[0], : sides[1], : sides[2]]

    def _mask(self, sides: Sequence[int], like: Tensor) -> Tensor | None:
        """Scores to add (windows, T, T): -100 between tokens that only the shift puts into one window."""
        if not self.shift:
            return None
        region = torch.zeros(1, *sides, 1, device=like.device)  # numbers the parts between which nothing attends
        for axis, side in enumerate(sides, start=1):
            along = torch.arange(side, device=like.device)
            part = (along >= side - self.window).float() + (along >= side - self.shift)
            region = 3 * region + part.view([-1 if index == axis else 1 for index in range(5)])
        windows = _split(region, self.window).squeeze(-1)  # (windows, T)
        return torch.where(windows[:, None] == windows[:, :, None], 0.0, -100.0)  # (windows, T, T)


def _split(x: Tensor, window: int) -> Tensor:
    """(B, D, H, W, E) to (B * windows, window^3, E)."""
    b, d, h, v, e = x.shape
    w = window
    x = x.view(b, d // w, w, h // w, w, v // w, w, e).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(-1, w**3, e)


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with a learned bias for each relative position.

    Args:
        width: width of a token.
        heads: attention heads.
        window: tokens along a side of a window.
        cross: whether keys and values come from another tensor; queries are then not projected.
    """

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: int, cross: bool) -> None:
        super().__init__()
        self.heads = heads
        self.scale = math.sqrt(heads / width)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 3, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        if cross:
            self.kv = nn.Linear(width, 2 * width)
        else:
            self.qkv = nn.Linear(width, 3 * width)
        self.cross = cross
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, other: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Attend within each window.

        Args:
            x: (B * windows, T, E).
            other: source of keys and values, the shape of ``x``; only with ``cross``.
            mask: (windows, T, T), added to the scores.

        Returns:
            the shape of ``x``.
        """
        if self.cross:
            q, k, v = (self._by_head(part) for part in (x, *self.kv(other).chunk(2, dim=-1)))
        else:
            q, k, v = (self._by_head(part) for part in self.qkv(x).chunk(3, dim=-1))
        tokens = x.shape[1]
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.view(tokens, tokens, -1).permute(2, 0, 1)[None]  # (1, heads, T, T)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(len(x) // len(mask), 1, 1, 1)
        x = functional.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), scale=self.scale)
        return self.proj(x.transpose(1, 2).flatten(2))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B * windows, heads, T, E / heads)


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of tokens of a window, (window^3, window^3).

    The factor on the first axis is the authors' 3w - 1, so that some offsets share a row.
    """
    along = torch.arange(window)
    positions = torch.stack(torch.meshgrid(along, along, along, indexing="ij")).flatten(1)  # (3, T)
    depth, height, width = positions[:, :, None] - positions[:, None] + window - 1
    return depth * (3 * window - 1) + height * (2 * window - 1) + width
