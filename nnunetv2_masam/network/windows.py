"""Attention within windows of a token grid whose sides need not be multiples of the window.

SAM's encoders fill cut-off windows with tokens that take part in attention. All of them are alike, so here they share
one key and one value; their queries are skipped. What attends must therefore know the sum of their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]


def attend_in_windows(
    q: Tensor, k: Tensor, v: Tensor, window: tuple[int, int], padding: Sequence[Tensor] | None, attend: Attend
) -> Tensor:
    """Cut a grid of tokens into windows, attend within each, and put the result together.

    Args:
        q, k, v: (N, G, G', heads, d) each.
        window: tokens of a window, (down, across).
        padding: key and value of a token that fills a window, (heads, d) each; None where every window is whole.
        attend: queries, keys and values (n, heads, T, d) of tiles of (h, w) tokens, and (h, w), to (n, heads, h·w, d).
            Where a tile is smaller than a window, keys and values have one more: that of the padding.

    Returns:
        (N, G, G', heads·d).
    """
    bands = []  # whole windows, then those cut off at the lower edge; across, the same
    for top, bottom in split_into_windows(q.shape[1], window[0]):
        h = min(bottom - top, window[0])
        tiles = []
        for left, right in split_into_windows(q.shape[2], window[1]):
            w = min(right - left, window[1])
            query, key, value = (_to_windows(part[:, top:bottom, left:right], (h, w)) for part in (q, k, v))
            if (h, w) != window:
                assert padding is not None
                key, value = (_append(part, token) for part, token in zip((key, value), padding, strict=True))
            attended = attend(query, key, value, (h, w))  # (n, heads, h·w, d)
            tiles.append(_from_windows(attended, (bottom - top, right - left), (h, w)))
        bands.append(torch.cat(tiles, dim=2) if len(tiles) > 1 else tiles[0])  # (N, bottom - top, G', heads·d)
    return torch.cat(bands, dim=1) if len(bands) > 1 else bands[0]


def split_into_windows(size: int, window: int) -> list[tuple[int, int]]:
    """An axis cut into the part that whole windows fill and the part that remains: (start, stop) of each."""
    whole = size - size % window
    return [(start, stop) for start, stop in ((0, whole), (whole, size)) if stop > start]


def _to_windows(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, rows·h, columns·w, heads, d), windows of (h, w) tokens, to (N·rows·columns, heads, h·w, d)."""
    x = x.unflatten(2, (-1, size[1])).unflatten(1, (-1, size[0]))  # (N, rows, h, columns, w, heads, d)
    return x.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5).flatten(0, 2)


def _from_windows(x: Tensor, extent: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(N·rows·columns, heads, h·w, d) to (N, rows·h, columns·w, heads·d), an extent of (rows·h, columns·w) tokens."""
    rows, columns = extent[0] // size[0], extent[1] // size[1]
    x = x.unflatten(0, (-1, rows, columns)).unflatten(4, size)  # (N, rows, columns, heads, h, w, d)
    return x.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)


def _append(x: Tensor, token: Tensor) -> Tensor:
    """Keys or values (n, heads, T, d) with a further one, (heads, d)."""
    return torch.cat([x, token.to(x.dtype)[None, :, None].expand(len(x), -1, -1, -1)], dim=2)
