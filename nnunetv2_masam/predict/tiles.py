"""The sliding window in the order of slices: logits of a slab as soon as no later tile touches it.

nnU-Net adds the tiles of a whole volume up and divides at the end. Its tiles come in rows, by their first slice, so all
slices before the first one of the next row are final. Here only the slices that the current row covers are in memory.
Sums, weights and their precision are nnU-Net's, operation by operation, and so are the logits, bit by bit.

D', H', W' are the shape of the padded, preprocessed image; d, h, w that of a tile; F folds, K classes or regions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TileRow:
    """The tiles that begin in one slice.

    Attributes:
        index: of the first axis of the image: slices, or for a 2D network the number of a slice.
        start: first slice.
        stop: the slice after the last one.
        places: slices of H' and W', one pair for each tile.
    """

    index: slice | int
    start: int
    stop: int
    places: Sequence[tuple[slice, slice]]


def rows_of_tiles(slicers: Sequence[tuple[Any, ...]]) -> list[TileRow]:
    """Group nnU-Net's slicers ``(channels, slices or slice, rows, columns)`` by their first slice."""
    rows = []
    for index, group in groupby(slicers, key=lambda slicer: slicer[1]):
        start, stop = (index.start, index.stop) if isinstance(index, slice) else (index, index + 1)
        rows.append(TileRow(index, start, stop, [(slicer[2], slicer[3]) for slicer in group]))
    return rows


@torch.inference_mode()
def logit_slabs(
    tile: Callable[[TileRow, tuple[slice, slice]], Tensor],
    rows: Sequence[TileRow],
    networks: Sequence[Callable[[Tensor], Tensor]],
    gaussian: Tensor,
    shape: tuple[int, int, int],
    heads: int,
    device: torch.device,
) -> Iterator[Tensor]:
    """Run the tiles through all networks, and yield the mean logits slab by slab.

    Args:
        tile: gives the input (1, C, d, h, w), or (1, C, h, w) in 2D, of a tile.
        rows: in the order of slices.
        networks: one for each fold, from such an input to logits (1, K, d, h, w) or (1, K, h, w).
        gaussian: weights (d, h, w) or (h, w) of a tile's voxels, in half precision on ``device``.
        shape: (D', H', W').
        heads: K.
        device: of the sums.

    Yields:
        (K, n, H', W') in half precision: all slices in their order. It is valid until the next one is asked for.
    """
    depth = max(row.stop - row.start for row in rows)
    sums = torch.zeros((len(networks), heads, depth, *shape[1:]), dtype=torch.half, device=device)
    weights = torch.zeros((depth, *shape[1:]), dtype=torch.half, device=device)
    nexts = [*(row.start for row in rows[1:]), shape[0]]
    for row, following in zip(rows, nexts, strict=True):
        size = row.stop - row.start
        for height, width in row.places:
            x = tile(row, (height, width))
            for total, network in zip(sums, networks, strict=True):
                prediction = network(x)[0].to(device)
                for window, logits in zip(total[:, :size, height, width], prediction, strict=True):
                    logits *= gaussian  # class by class, because torch copies what it adds in another precision
                    window += logits.reshape(window.shape)
            covered = weights[:size, height, width]
            covered += gaussian.reshape(covered.shape)
        done = following - row.start
        yield _mean(sums[:, :, :done], weights[:done])
        _shift(sums, done, axis=2)
        _shift(weights, done, axis=0)


def _mean(sums: Tensor, weights: Tensor) -> Tensor:
    """Sums (F, K, n, H', W') by weights (n, H', W') → mean of the folds (K, n, H', W'), in the place of F = 0."""
    for total in sums:
        torch.div(total, weights, out=total)
    mean = sums[0]
    for total in sums[1:]:
        mean += total
    if len(sums) > 1:
        mean /= len(sums)
    return mean


def _shift(x: Tensor, by: int, axis: int) -> None:
    """Move all slices ``by`` places to the front, and fill up with zeros; slice by slice, to need no second copy."""
    slices = x.movedim(axis, 0)
    kept = max(len(slices) - by, 0)
    for index in range(kept):
        slices[index] = slices[index + by]
    slices[kept:] = 0
