"""Distances between the surfaces of two masks, by either of the two definitions in use.

``voxels``
    The surface is the mask's border voxels: those with a face neighbour outside of the mask or outside of the image.
    Distances are between voxel centres, and every border voxel counts once. MONAI, medpy and Metrics Reloaded
    (Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z) measure HD95 and ASSD like this, so published values are
    comparable with these.
``mesh``
    The surface is made of elements through the voxel corners, each weighted by its area in mm² (its length in mm in
    2D): the definition of NSD (Nikolov et al. 2021, doi:10.2196/26151). The elements of two surfaces whose voxels are
    3 mm apart can be 2 mm apart, because each surface lies half a voxel outside of its voxel centres. The 2 × 2 × 2
    voxels around each corner are triangulated by scikit-image's marching cubes (Lorensen and Cline 1987). The areas
    equal those of DeepMind's ``surface-distance``. A mask and its complement have the same surface, so a neighbourhood
    with more than four voxels inside is triangulated as its complement.

Masks are boolean, (D, H, W) with three spacings in mm or (H, W) with two, and not empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nnunetv2_masam.evaluation.nearest import nearest_mm, with_margin, within


class Distances(NamedTuple):
    """Distances of all surface points of one mask to the other mask's surface.

    Attributes:
        mm: distances, (points,).
        weights: areas of the points' surface elements, (points,); ones for border voxels.
    """

    mm: np.ndarray
    weights: np.ndarray

    def percentile(self, surface: str) -> float:
        """The 95th percentile: interpolated between border voxels, the element at 95 % of the area for a mesh."""
        if surface == "voxels":
            return float(np.percentile(self.mm, 95))
        order = np.lexsort((self.weights, self.mm))
        share = np.cumsum(self.weights[order]) / np.sum(self.weights[order])
        return float(self.mm[order][min(int(np.searchsorted(share, 0.95)), len(order) - 1)])


def surface_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    distance_surface: str = "voxels",
    nsd_surface: str = "mesh",
) -> dict[str, float]:
    """Return ``HD95_mm`` and ``ASSD_mm`` by one definition of the surface and ``NSD`` by another.

    HD95 is the larger of the two directed 95th percentiles. ASSD is the mean over both surfaces together. NSD is the
    share of both surfaces that lies within the tolerance of the other one.
    """
    pair = surface_distances(reference, prediction, spacing_mm, distance_surface)
    found = {
        "HD95_mm": max(distances.percentile(distance_surface) for distances in pair),
        "ASSD_mm": float(
            sum(distances.mm @ distances.weights for distances in pair)
            / sum(distances.weights.sum() for distances in pair)
        ),
    }
    if nsd_surface != distance_surface:
        pair = surface_distances(reference, prediction, spacing_mm, nsd_surface, tolerance_mm)
    close = sum(distances.weights[distances.mm <= tolerance_mm].sum() for distances in pair)
    return {**found, "NSD": float(close / sum(distances.weights.sum() for distances in pair))}


def surface_distances(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    surface: str,
    limit_mm: float = np.inf,
) -> tuple[Distances, Distances]:
    """Distances from the reference's surface to the prediction's, and back.

    Args:
        reference: mask, not empty.
        prediction: mask of the same shape, not empty.
        spacing_mm: voxel size, one number for each axis.
        surface: its definition.
        limit_mm: longer distances need not be known; they may come back as infinite.
    """
    masks = [with_margin(mask, (1,) * mask.ndim) for mask in (reference, prediction)]
    if surface == "voxels":
        points = [border_of(mask) for mask in masks]
        weights = [np.ones(np.count_nonzero(point)) for point in points]
    else:
        codes = [corner_codes(mask) for mask in masks]
        areas = element_areas(tuple(float(size) for size in spacing_mm))
        points = [(code != 0) & (code != len(areas) - 1) for code in codes]
        weights = [areas[code[point]] for code, point in zip(codes, points, strict=True)]
    to_prediction, to_reference = nearest_mm(points[0], points[1], spacing_mm, limit_mm)
    return Distances(to_prediction, weights[0]), Distances(to_reference, weights[1])


def border_of(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask with a face neighbour outside of it; the image ends outside of every mask."""
    padded, inner = with_margin(mask, (1,) * mask.ndim), mask.copy()
    for axis in range(mask.ndim):
        for side in (slice(None, -2), slice(2, None)):
            neighbours = [slice(1, -1)] * mask.ndim
            neighbours[axis] = side
            inner &= padded[tuple(neighbours)]
    return mask & ~inner


def boundary_iou(reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], width_mm: float) -> float:
    """IoU of the parts of both masks that are within a width of their own border voxels (Cheng et al. 2021)."""
    zones = [mask & within(border_of(mask), spacing_mm, width_mm) for mask in (reference, prediction)]
    return float(np.count_nonzero(zones[0] & zones[1]) / np.count_nonzero(zones[0] | zones[1]))


def corner_codes(mask: np.ndarray) -> np.ndarray:
    """Which of the voxels around each corner between the voxels of a mask are inside of it.

    Args:
        mask: boolean, (D, H, W) or (H, W). Pad it by a voxel for the corners on its outside.

    Returns:
        uint8, one element less along each axis. The voxel at offset (i, j, k) of the corner's neighbourhood sets bit
        4i + 2j + k, or 2i + j in 2D. No bit is set outside of the mask and all are set inside.
    """
    codes: np.ndarray = mask.astype(np.uint8)
    for axis in range(mask.ndim):
        first, second = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        shift = 1 << (mask.ndim - 1 - axis)
        codes = codes[tuple(first)] | codes[tuple(second)] << shift
    return codes


@lru_cache(maxsize=64)
def element_areas(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Area in mm² (length in mm in 2D) of the surface element of every corner code, (256,) or (16,)."""
    if len(spacing_mm) == 2:
        return np.array([_contour_length(code, spacing_mm) for code in range(16)])
    faces_mm2 = np.prod(spacing_mm) / np.asarray(spacing_mm)  # of a voxel, by the axis that they are normal to
    return np.array([np.linalg.norm(normals * faces_mm2, axis=1).sum() for normals in _normals()])


@lru_cache(maxsize=1)
def _normals() -> list[np.ndarray]:
    """Normals of each code's triangles for a voxel size of 1, as long as their area, (triangles, 3)."""
    from skimage.measure import marching_cubes

    found = []
    for code in range(256):
        cube = _neighbourhood(code if code.bit_count() <= 4 else 255 - code, 3)
        if not cube.any():
            found.append(np.zeros((0, 3)))
            continue
        vertices, triangles, *_ = marching_cubes(cube.astype(float), 0.5, method="lorensen")
        first, second, third = vertices[triangles].astype(float).transpose(1, 0, 2)
        found.append(np.cross(second - first, third - first) / 2)
    return found


def _contour_length(code: int, spacing_mm: tuple[float, ...]) -> float:
    square = _neighbourhood(code, 2)
    corner_mm = math.hypot(*spacing_mm) / 2  # cuts off a single pixel
    if square.sum() in (0, 4):
        return 0.0
    if square.sum() in (1, 3):
        return corner_mm
    if square[0, 0] == square[1, 1]:
        return 2 * corner_mm
    return spacing_mm[1] if square[0, 0] == square[0, 1] else spacing_mm[0]


def _neighbourhood(code: int, dimensions: int) -> np.ndarray:
    return (code >> np.arange(2**dimensions) & 1).astype(bool).reshape((2,) * dimensions)
