"""Distances between the surfaces of two masks, by either of the two definitions in use.

``voxels``
    The surface is the mask's border voxels: those with a face neighbour outside of the mask or outside of the image.
    Distances are between voxel centres, and every border voxel counts once. MONAI, medpy and Metrics Reloaded
    (Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z) measure HD95 and ASSD like this, so published values are
    comparable with these.
``mesh``
    The surface is made of elements through the voxel corners, each weighted by its area in mm²: DeepMind's
    ``surface_distance`` (Nikolov et al. 2021, doi:10.2196/26151), which defines NSD. The elements of two surfaces
    whose voxels are 3 mm apart can be 2 mm apart, because each surface lies half a voxel outside of its voxel centres.

Masks are boolean, (D, H, W) with three spacings in mm or (H, W) with two, and not empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import surface_distance
from scipy import ndimage
from scipy.spatial import KDTree

Surface = Literal["voxels", "mesh"]
SURFACES: tuple[Surface, ...] = ("voxels", "mesh")


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
    by_surface = {"voxels": _on_voxels, "mesh": _on_mesh}
    found = by_surface[distance_surface](reference, prediction, spacing_mm, tolerance_mm)
    if nsd_surface != distance_surface:
        found["NSD"] = by_surface[nsd_surface](reference, prediction, spacing_mm, tolerance_mm)["NSD"]
    return found


def border_of(mask: np.ndarray) -> np.ndarray:
    """Voxels of the mask with a face neighbour outside of it; the image ends outside of every mask."""
    return mask & ~ndimage.binary_erosion(mask)


def _on_voxels(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> dict[str, float]:
    ours = np.argwhere(border_of(prediction)) * np.asarray(spacing_mm)
    theirs = np.argwhere(border_of(reference)) * np.asarray(spacing_mm)
    # a search tree gives the same distances as a distance transform, and costs surfaces instead of volumes
    to_reference, _ = KDTree(theirs).query(ours)
    to_prediction, _ = KDTree(ours).query(theirs)
    both = np.concatenate([to_reference, to_prediction])
    return {
        "HD95_mm": float(max(np.percentile(to_reference, 95), np.percentile(to_prediction, 95))),
        "ASSD_mm": float(both.mean()),
        "NSD": float(np.mean(both <= tolerance_mm)),
    }


def _on_mesh(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> dict[str, float]:
    distances = surface_distance.compute_surface_distances(reference, prediction, list(spacing_mm))
    area_reference, area_prediction = distances["surfel_areas_gt"], distances["surfel_areas_pred"]
    total = np.sum(distances["distances_gt_to_pred"] * area_reference)
    total += np.sum(distances["distances_pred_to_gt"] * area_prediction)
    return {
        "HD95_mm": float(surface_distance.compute_robust_hausdorff(distances, 95)),
        "ASSD_mm": float(total / (np.sum(area_reference) + np.sum(area_prediction))),
        "NSD": float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm)),
    }


def boundary_iou(reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], width_mm: float) -> float:
    """IoU of the parts of both masks that are within a width of their own border voxels (Cheng et al. 2021)."""
    zones = [
        mask & (ndimage.distance_transform_edt(~border_of(mask), sampling=list(spacing_mm)) <= width_mm)
        for mask in (reference, prediction)
    ]
    return float(np.count_nonzero(zones[0] & zones[1]) / np.count_nonzero(zones[0] | zones[1]))
