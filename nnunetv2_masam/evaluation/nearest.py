"""Distances between two sets of voxels on one grid, from the voxels alone.

Surfaces hold few of a volume's voxels and are usually near each other. So the offsets to neighbouring voxels are tried
from the shortest to the longest, for all voxels at once, until each has met a voxel of the other set. A search tree
serves the voxels that are farther away than the first `MAX_OFFSETS` offsets. Distances are exact in double precision:
the length of the offset in mm, as SciPy's ``distance_transform_edt`` computes it. The package ``edt`` computes in
single precision, and in the whole volume; `benchmarks/measure_labels.py` compares.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

MAX_OFFSETS = 256  # longer searches are faster in a tree, and wider zones in a distance transform


def nearest_mm(
    first: np.ndarray, second: np.ndarray, spacing_mm: Sequence[float], limit_mm: float = math.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from each voxel of one set to the nearest voxel of the other, both ways.

    Args:
        first: boolean, not empty.
        second: boolean, of the same shape, not empty.
        spacing_mm: voxel size, one number for each axis.
        limit_mm: longer distances come back as infinite.

    Returns:
        distances of the voxels of `first` and of those of `second`, in the order of ``np.nonzero``.
    """
    spacing = tuple(float(size) for size in spacing_mm)
    search_mm = min(limit_mm, _radius_mm(spacing))
    reach = _reach(search_mm, spacing)
    # no offset leaves the padded grid, so voxels and offsets are single numbers
    grids = [with_margin(voxels, reach) for voxels in (first, second)]
    places = [np.flatnonzero(grid) for grid in grids]
    strides = np.array(grids[0].strides)
    found = []
    for places_from, target, places_to in ((places[0], grids[1], places[1]), (places[1], grids[0], places[0])):
        distances_mm = np.full(len(places_from), np.inf)
        left = _search_offsets(places_from, target.ravel(), strides, spacing, search_mm, distances_mm)
        if len(left) and limit_mm > search_mm:
            shape = target.shape
            distances_mm[left] = _search_tree(places_from[left], places_to, shape, spacing, limit_mm)
        found.append(distances_mm)
    return found[0], found[1]


def within(voxels: np.ndarray, spacing_mm: Sequence[float], width_mm: float) -> np.ndarray:
    """Mask of the grid's voxels that are at most a width away from a voxel of the set."""
    spacing = tuple(float(size) for size in spacing_mm)
    if width_mm > _radius_mm(spacing):
        if not voxels.any():
            return np.zeros_like(voxels)
        return np.asarray(ndimage.distance_transform_edt(~voxels, sampling=list(spacing)) <= width_mm)
    reach = _reach(width_mm, spacing)
    padded = with_margin(voxels, reach)
    places = np.flatnonzero(padded)
    zone = padded.ravel()
    for _, offsets in _offsets_by_distance(spacing, width_mm):
        for offset in offsets @ padded.strides:
            zone[places + offset] = True
    return padded[tuple(slice(margin, margin + n) for margin, n in zip(reach, voxels.shape, strict=True))]


def with_margin(mask: np.ndarray, margins: Sequence[int]) -> np.ndarray:
    """The mask inside of a larger one, as ``np.pad`` returns it in several times the time."""
    padded = np.zeros([n + 2 * margin for n, margin in zip(mask.shape, margins, strict=True)], bool)
    padded[tuple(slice(margin, margin + n) for margin, n in zip(margins, mask.shape, strict=True))] = mask
    return padded


def _reach(radius_mm: float, spacing: tuple[float, ...]) -> list[int]:
    """Voxels within a radius along each axis, or one more where the quotient is rounded."""
    return [int(radius_mm / size + 1e-9) for size in spacing]


def _radius_mm(spacing: tuple[float, ...]) -> float:
    """Radius of the disc or ball that holds about `MAX_OFFSETS` voxels."""
    unit_ball = math.pi if len(spacing) == 2 else 4 / 3 * math.pi
    return (MAX_OFFSETS * math.prod(spacing) / unit_ball) ** (1 / len(spacing))


@lru_cache(maxsize=64)
def _offsets_by_distance(spacing: tuple[float, ...], radius_mm: float) -> list[tuple[float, np.ndarray]]:
    """Distances in mm up to the radius in rising order, each with its offsets, (offsets, axes)."""
    reach = _reach(radius_mm, spacing)
    offsets = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))))
    distances_mm = _lengths_mm(offsets, spacing)
    values, group = np.unique(distances_mm, return_inverse=True)
    return [(float(value), offsets[group == i]) for i, value in enumerate(values) if value <= radius_mm]


def _lengths_mm(offsets: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    return np.sqrt(np.add.reduce(np.square(offsets.T * np.array(spacing)[:, None]), axis=0))


def _search_offsets(
    places: np.ndarray,
    target: np.ndarray,
    strides: np.ndarray,
    spacing: tuple[float, ...],
    radius_mm: float,
    distances_mm: np.ndarray,
) -> np.ndarray:
    """Fill in the distances up to a radius, and return the indices of the places whose distance is longer."""
    left = np.arange(len(places))
    for distance_mm, offsets in _offsets_by_distance(spacing, radius_mm):
        hit = np.zeros(len(places), bool)
        for offset in offsets @ strides:
            hit |= target.take(places + offset)
        distances_mm[left[hit]] = distance_mm
        left, places = left[~hit], places[~hit]
        if not len(left):
            break
    return left


def _search_tree(
    places: np.ndarray, targets: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...], limit_mm: float
) -> np.ndarray:
    points, others = (np.stack(np.unravel_index(flat, shape), axis=1) for flat in (places, targets))
    tree = KDTree(others * spacing, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(points * spacing, distance_upper_bound=limit_mm * (1 + 1e-9))
    found = nearest < len(others)
    distances_mm = np.full(len(points), np.inf)
    distances_mm[found] = _lengths_mm(points[found] - others[nearest[found]], spacing)
    return distances_mm
