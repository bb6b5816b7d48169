"""Distances between the surfaces of two masks, by either of the two definitions in use.

``voxels``
    The surface is the mask's border voxels: those with a face neighbour outside of the mask or outside of the image.
    Distances are between voxel centres, and every border voxel counts once. MONAI, medpy and Metrics Reloaded
    (Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z) measure HD95 and ASSD like this, so published values are
    comparable with these.
``mesh``
    The surface is made of elements through the voxel corners, each weighted by its area in mm² (its length in mm in
    2D): the definition of NSD (Nikolov et al. 2021, doi:10.2196/26151; `surface_elements`). The elements of two
    surfaces whose voxels are 3 mm apart can be 2 mm apart, because each surface lies half a voxel outside of its voxel
    centres.

Masks are boolean, (D, H, W) with three spacings in mm or (H, W) with two, and not empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from nnunetv2_masam.evaluation.nearest import nearest_mm, with_margin, within
from nnunetv2_masam.evaluation.surface_elements import corner_codes, element_areas

Surface = Literal["voxels", "mesh"]
SURFACES: tuple[Surface, ...] = ("voxels", "mesh")


class Distances(NamedTuple):
    """Distances of all surface points of one mask to the other mask's surface.

    Attributes:
        mm: distances, (points,).
        weights: areas of the points' surface elements, (points,); ones for border voxels.
    """

    mm: np.ndarray
    weights: np.ndarray

    def percentile(self, surface: Surface) -> float:
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
    distance_surface: Surface = "voxels",
    nsd_surface: Surface = "mesh",
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
    surface: Surface,
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
