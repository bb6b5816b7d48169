"""Metrics of one structure in one case.

Dice and IoU are nnU-Net's own (``nnunetv2.evaluation.evaluate_predictions``), so that they equal its
``summary.json`` to the last digit. Surface distances come from DeepMind's ``surface_distance`` (Nikolov et
al. 2021, doi:10.2196/26151), which weights every surface element by its area in mm² and so stays right on
anisotropic spacing. Axes are (D, H, W). A 2D image has D = 1, as nnU-Net's readers give it, and a spacing of
two numbers; its "volumes" are those of a slice of 1 mm.

The rule for empty masks (after voxels under the ignore label are taken out):

================  ======================  ====================================================
reference         prediction              values
================  ======================  ====================================================
empty             empty                   all NaN: there is nothing to judge (as in nnU-Net)
empty             not empty               Dice, IoU, NSD 0; HD95, ASSD the image diagonal
not empty         empty                   Dice, IoU, NSD 0; HD95, ASSD the image diagonal
================  ======================  ====================================================

The diagonal is the largest distance that the image allows. A penalty, rather than a gap, keeps a model from
looking better for having missed a structure entirely, and keeps every case in the paired tests.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Literal

import numpy as np
import surface_distance
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, get_bbox_from_mask, pad_bbox
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn

METRICS = ("Dice", "IoU", "HD95_mm", "ASSD_mm", "NSD")
HIGHER_IS_BETTER = {"Dice": True, "IoU": True, "HD95_mm": False, "ASSD_mm": False, "NSD": True}
DEFAULT_TOLERANCE_MM = 2.0
EmptyCase = Literal["", "reference", "prediction", "both"]
# raised when a number that this module returns for the same input changes, so that cached values expire
METRICS_REVISION = 1


def library_versions() -> dict[str, str]:
    """Names and versions of what computes the metrics, for the record and the cache."""
    packages = ("surface-distance", "nnunetv2", "scipy", "numpy")
    return {package: importlib.metadata.version(package) for package in packages}


def structure_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    ignore: np.ndarray | None = None,
    diagonal_mm: float | None = None,
) -> dict[str, float | str]:
    """Measure one structure.

    Args:
        reference: boolean mask, (D, H, W).
        prediction: boolean mask, (D, H, W).
        spacing_mm: voxel size (D, H, W), or (H, W) for a 2D image.
        tolerance_mm: distance up to which a surface element counts as found in NSD.
        ignore: boolean mask (D, H, W) of voxels that do not count.
        diagonal_mm: of the whole image, where the masks are a crop of it.

    Returns:
        the values of `METRICS`, ``volume_reference_ml``, ``volume_prediction_ml``, ``volume_difference_ml``
        (prediction minus reference) and ``empty`` (which of the masks are empty).
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference has shape {reference.shape}, prediction {prediction.shape}: must be equal")
    if diagonal_mm is None:
        diagonal_mm = image_diagonal_mm(reference.shape, spacing_mm)
    if ignore is not None:
        reference, prediction = reference & ~ignore, prediction & ~ignore
    union = reference | prediction
    if not union.any():
        return _row(dict.fromkeys(METRICS, float("nan")), 0.0, 0.0, "both")
    crop = bounding_box_to_slice(pad_bbox(get_bbox_from_mask(union), 1, union.shape))
    reference, prediction = reference[crop], prediction[crop]
    tp, fp, fn, _ = compute_tp_fp_fn_tn(reference, prediction)
    # the expressions of nnunetv2.evaluation.evaluate_predictions.compute_metrics
    values = {"Dice": float(2 * tp / (2 * tp + fp + fn)), "IoU": float(tp / (tp + fp + fn))}
    empty: EmptyCase = "reference" if tp + fn == 0 else "prediction" if tp + fp == 0 else ""
    if empty:
        values |= {"HD95_mm": diagonal_mm, "ASSD_mm": diagonal_mm, "NSD": 0.0}
    else:
        values |= surface_metrics(reference, prediction, spacing_mm, tolerance_mm)
    voxel_ml = float(np.prod([float(size) for size in spacing_mm])) / 1000
    return _row(values, (tp + fn) * voxel_ml, (tp + fp) * voxel_ml, empty)


def surface_metrics(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> dict[str, float]:
    """HD95, ASSD and NSD of two masks (D, H, W), neither of them empty.

    HD95 is the larger of the two directed 95th percentiles. ASSD is the mean over the elements of both
    surfaces, weighted by area. NSD is the share of both surfaces within the tolerance of the other.
    """
    if len(spacing_mm) == 2:
        reference, prediction = reference[0], prediction[0]
    distances = surface_distance.compute_surface_distances(reference, prediction, list(spacing_mm))
    area_reference, area_prediction = distances["surfel_areas_gt"], distances["surfel_areas_pred"]
    total = np.sum(distances["distances_gt_to_pred"] * area_reference)
    total += np.sum(distances["distances_pred_to_gt"] * area_prediction)
    return {
        "HD95_mm": float(surface_distance.compute_robust_hausdorff(distances, 95)),
        "ASSD_mm": float(total / (np.sum(area_reference) + np.sum(area_prediction))),
        "NSD": float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm)),
    }


def image_diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """The distance between the centres of the two voxels farthest apart."""
    extent = shape[-len(spacing_mm) :]
    return float(np.linalg.norm([(n - 1) * size for n, size in zip(extent, spacing_mm, strict=True)]))


def _row(
    values: dict[str, float], volume_reference_ml: float, volume_prediction_ml: float, empty: EmptyCase
) -> dict[str, float | str]:
    return {
        **{metric: values[metric] for metric in METRICS},
        "volume_reference_ml": float(volume_reference_ml),
        "volume_prediction_ml": float(volume_prediction_ml),
        "volume_difference_ml": float(volume_prediction_ml - volume_reference_ml),
        "empty": empty,
    }
