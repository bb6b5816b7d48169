"""Metrics of one structure in one case.

Dice and IoU are nnU-Net's own (``nnunetv2.evaluation.evaluate_predictions``), so that they equal its ``summary.json``
to the last digit. `surfaces` has the surface distances, `lesions` the detection of lesions. Axes are (D, H, W). A 2D
image has D = 1, as nnU-Net's readers give it, and a spacing of two numbers; its "volumes" are those of a slice of 1 mm.

The rule for empty masks (after voxels under the ignore label are taken out):

================  ======================  ====================================================
reference         prediction              values
================  ======================  ====================================================
empty             empty                   NaN: there is nothing to judge (as in nnU-Net)
empty             not empty               the worst: 0; HD95, ASSD the image diagonal
not empty         empty                   the worst: 0; HD95, ASSD the image diagonal
================  ======================  ====================================================

The diagonal, from corner to corner, is more than any distance in the image. A penalty, rather than a gap, keeps a model
from looking better for having missed a structure entirely, and keeps every case in the paired tests. Three optional
metrics follow their definition instead. Sensitivity, lesion sensitivity and relative volume error have no value where
the reference is empty. The number of false positive lesions is a count, so it is 0 where both masks are empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, get_bbox_from_mask, pad_bbox
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn

from nnunetv2_masam.evaluation.lesions import count_lesions
from nnunetv2_masam.evaluation.metrics import DEFAULT_TOLERANCE_MM, LESION_COUNTS, VOLUMES, MetricSettings
from nnunetv2_masam.evaluation.surfaces import boundary_iou, surface_metrics

# raised when a number that this module returns for the same input changes, so that cached values expire
METRICS_REVISION = 3


def structure_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    ignore: np.ndarray | None = None,
    diagonal_mm: float | None = None,
    settings: MetricSettings | None = None,
) -> dict[str, float | bool]:
    """Measure one structure.

    Args:
        reference: boolean mask, (D, H, W).
        prediction: boolean mask, (D, H, W).
        spacing_mm: voxel size (D, H, W), or (H, W) for a 2D image.
        tolerance_mm: distance up to which a surface element counts as found in NSD; also the width of the boundary
            in boundary IoU.
        ignore: boolean mask (D, H, W) of voxels that do not count.
        diagonal_mm: of the whole image, where the masks are a crop of it.
        settings: what to measure, by which definition.

    Returns:
        the settings' metrics, ``volume_reference_ml``, ``volume_prediction_ml``, ``volume_difference_ml``
        (prediction minus reference), ``in_reference`` and ``in_prediction`` (whether the masks hold anything).
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference has shape {reference.shape}, prediction {prediction.shape}: must be equal")
    settings = settings or MetricSettings()
    if diagonal_mm is None:
        diagonal_mm = image_diagonal_mm(reference.shape, spacing_mm)
    if ignore is not None:
        reference, prediction = reference & ~ignore, prediction & ~ignore
    union = reference | prediction
    values: dict[str, float | bool] = dict.fromkeys(settings.columns, float("nan"))
    if not union.any():
        zero = {column: 0.0 for column in (*VOLUMES, *LESION_COUNTS, "lesion_false_positives") if column in values}
        return {**values, **zero, "in_reference": False, "in_prediction": False}
    crop = bounding_box_to_slice(pad_bbox(get_bbox_from_mask(union), 1, union.shape))
    reference, prediction = reference[crop], prediction[crop]
    tp, fp, fn, _ = compute_tp_fp_fn_tn(reference, prediction)
    # the expressions of nnunetv2.evaluation.evaluate_predictions.compute_metrics
    values |= {"Dice": float(2 * tp / (2 * tp + fp + fn)), "IoU": float(tp / (tp + fp + fn))}
    if len(spacing_mm) == 2:
        reference, prediction = reference[0], prediction[0]
    if tp + fn == 0 or tp + fp == 0:
        values |= {"HD95_mm": diagonal_mm, "ASSD_mm": diagonal_mm, "NSD": 0.0}
    else:
        surfaces = (settings.distance_surface, settings.nsd_surface)
        values |= surface_metrics(reference, prediction, spacing_mm, tolerance_mm, *surfaces)
    values |= _optional_metrics(reference, prediction, spacing_mm, tolerance_mm, settings, (int(tp), int(fp), int(fn)))
    return {
        **values,
        **_volumes_ml(int(tp), int(fp), int(fn), spacing_mm),
        "in_reference": bool(tp + fn),
        "in_prediction": bool(tp + fp),
    }


def _volumes_ml(tp: int, fp: int, fn: int, spacing_mm: Sequence[float]) -> dict[str, float]:
    voxel_ml = float(np.prod([float(size) for size in spacing_mm])) / 1000
    return dict(zip(VOLUMES, ((tp + fn) * voxel_ml, (tp + fp) * voxel_ml, (fp - fn) * voxel_ml), strict=True))


def image_diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """The distance between opposite outer corners of the image."""
    extent = shape[-len(spacing_mm) :]
    return float(np.linalg.norm([n * size for n, size in zip(extent, spacing_mm, strict=True)]))


def _optional_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    settings: MetricSettings,
    counts: tuple[int, int, int],
) -> dict[str, float]:
    """The metrics that `settings.optional` adds, for masks of which at least one is not empty."""
    tp, fp, fn = counts
    in_reference, wanted = tp + fn, settings.optional
    found: dict[str, float] = {}
    if "sensitivity" in wanted and in_reference:
        found["sensitivity"] = tp / in_reference
    if "precision" in wanted:
        found["precision"] = tp / (tp + fp) if tp + fp else 0.0
    if "volume_error" in wanted and in_reference:
        found["relative_volume_error"] = abs(fp - fn) / in_reference
    if "boundary_iou" in wanted:
        found["boundary_IoU"] = boundary_iou(reference, prediction, spacing_mm, tolerance_mm)
    if "lesions" in wanted:
        lesions = count_lesions(reference, prediction, settings.lesion_iou)
        found |= dict(zip(LESION_COUNTS, map(float, lesions), strict=True))
        found["lesion_F1"] = 2 * lesions.matched / (lesions.reference + lesions.prediction)
        found["lesion_false_positives"] = float(lesions.prediction - lesions.matched)
        if lesions.reference:
            found["lesion_sensitivity"] = lesions.matched / lesions.reference
    return found
