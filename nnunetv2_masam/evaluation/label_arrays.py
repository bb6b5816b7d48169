"""Measure all structures of two label arrays in one pass over the volume.

`label_masks` reads the overlaps and boxes of all structures off the volume. What remains, surfaces and lesions, is
measured inside of each structure's box.

Axes are (D, H, W). A 2D image has D = 1, as nnU-Net's readers give it, and a spacing of two numbers; its "volumes" are
those of a slice of 1 mm. Dice and IoU equal those of nnU-Net's ``summary.json`` to the last digit.

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

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nnunetv2_masam.evaluation.centerlines import cldice
from nnunetv2_masam.evaluation.label_masks import MaskPair, mask_pairs
from nnunetv2_masam.evaluation.lesions import LESION_RULES, count_lesions, lesion_wise, panoptic_quality
from nnunetv2_masam.evaluation.metrics import LESION_COUNTS, VOLUMES, MetricSettings
from nnunetv2_masam.evaluation.surfaces import boundary_iou, surface_metrics

if TYPE_CHECKING:
    from nnunetv2_masam.evaluation.labels import Structure

COUNTS = ("lesion_false_positives", *LESION_COUNTS)
# raised when a number that is returned for the same input changes, so that cached values expire
METRICS_REVISION = 3


def measure_labels(
    reference: np.ndarray,
    prediction: np.ndarray,
    structures: Sequence[Structure],
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
    ignore_label: int | None = None,
    settings: MetricSettings | None = None,
) -> list[dict[str, float | bool | str]]:
    """Measure structures.

    Args:
        reference: label values, integers, (D, H, W).
        prediction: label values, integers, (D, H, W).
        structures: labels and regions.
        spacing_mm: voxel size (D, H, W), or (H, W) for a 2D image.
        tolerances_mm: of each structure, the distance up to which a surface element counts as found in NSD; also the
            width of the boundary in boundary IoU.
        ignore_label: value of the reference under which voxels do not count.
        settings: what to measure, by which definition.

    Returns:
        a row for each structure, in their order: ``label`` (its name), those of `MetricSettings.columns`, of which
        ``volume_difference_ml`` is prediction minus reference, ``in_reference`` and ``in_prediction`` (whether the
        masks hold anything).

    Raises:
        ValueError: shapes, spacing, tolerances or dtypes do not fit.
    """
    _check(reference, prediction, structures, spacing_mm, tolerances_mm)
    if not structures:
        return []
    settings = settings or MetricSettings()
    spacing = tuple(float(size) for size in spacing_mm)
    diagonal_mm = float(np.linalg.norm(np.array(reference.shape[-len(spacing) :]) * spacing))
    pairs = mask_pairs(reference, prediction, structures, ignore_label, in_plane=len(spacing) == 2)
    return [
        {"label": structure.name, **_measure(pair, spacing, float(tolerance_mm), diagonal_mm, settings)}
        for structure, pair, tolerance_mm in zip(structures, pairs, tolerances_mm, strict=True)
    ]


def _check(
    reference: np.ndarray,
    prediction: np.ndarray,
    structures: Sequence[Structure],
    spacing_mm: Sequence[float],
    tolerances_mm: Sequence[float],
) -> None:
    if reference.shape != prediction.shape or reference.ndim != 3:
        raise ValueError(
            f"reference has shape {reference.shape}, prediction {prediction.shape}: must be equal, and (D, H, W)"
        )
    for name, array in (("reference", reference), ("prediction", prediction)):
        if array.dtype.kind not in "iub":
            raise ValueError(f"{name} has dtype {array.dtype}; expected integers. Round it and convert it first.")
    if len(spacing_mm) not in (2, 3) or not all(0 < size < math.inf for size in spacing_mm):
        raise ValueError(f"spacing_mm is {tuple(spacing_mm)}; expected three positive numbers, two for a 2D image")
    if len(spacing_mm) == 2 and reference.shape[0] != 1:
        raise ValueError(f"spacing_mm has two numbers, but there are {reference.shape[0]} slices; give three")
    if len(tolerances_mm) != len(structures):
        raise ValueError(f"there are {len(structures)} structures, but {len(tolerances_mm)} tolerances_mm")


def _measure(
    pair: MaskPair, spacing_mm: tuple[float, ...], tolerance_mm: float, diagonal_mm: float, settings: MetricSettings
) -> dict[str, float | bool | str]:
    tp, fp, fn = pair.tp, pair.fp, pair.fn
    voxel_ml = math.prod(spacing_mm) / 1000
    volumes = dict(zip(VOLUMES, ((tp + fn) * voxel_ml, (tp + fp) * voxel_ml, (fp - fn) * voxel_ml), strict=True))
    values: dict[str, float | bool | str] = dict.fromkeys(settings.columns, math.nan)
    if not tp + fp + fn:
        values |= {column: 0.0 for column in COUNTS if column in values}
        return {**values, **volumes, "in_reference": False, "in_prediction": False}
    # the expressions of nnunetv2.evaluation.evaluate_predictions.compute_metrics
    values |= {"Dice": 2 * tp / (2 * tp + fp + fn), "IoU": tp / (tp + fp + fn)}
    in_reference, in_prediction = tp + fn > 0, tp + fp > 0
    if not (in_reference and in_prediction):
        values |= {"HD95_mm": diagonal_mm, "ASSD_mm": diagonal_mm, "NSD": 0.0}
    else:
        surfaces = settings.distance_surface, settings.nsd_surface
        values |= surface_metrics(pair.reference, pair.prediction, spacing_mm, tolerance_mm, *surfaces)
    values |= _optional(pair, spacing_mm, tolerance_mm, diagonal_mm, settings)
    return {**values, **volumes, "in_reference": in_reference, "in_prediction": in_prediction}


def _optional(
    pair: MaskPair, spacing_mm: tuple[float, ...], tolerance_mm: float, diagonal_mm: float, settings: MetricSettings
) -> dict[str, float]:
    """The metrics that `MetricSettings.optional` adds, for masks of which at least one is not empty."""
    tp, fp, fn = pair.tp, pair.fp, pair.fn
    in_reference, wanted, masks = tp + fn, settings.optional, (pair.reference, pair.prediction)
    found: dict[str, float] = {}
    if "sensitivity" in wanted and in_reference:
        found["sensitivity"] = tp / in_reference
    if "precision" in wanted:
        found["precision"] = tp / (tp + fp) if tp + fp else 0.0
    if "volume_error" in wanted and in_reference:
        found["relative_volume_error"] = abs(fp - fn) / in_reference
    if "boundary_iou" in wanted:
        found["boundary_IoU"] = boundary_iou(*masks, spacing_mm, tolerance_mm)
    if "lesions" in wanted:
        found |= _lesion_counts(*masks, settings.lesion_iou)
    if "lesion_wise" in wanted:
        pair_of_means = lesion_wise(*masks, spacing_mm, LESION_RULES[settings.lesion_rule], diagonal_mm)
        found |= dict(zip(("lesion_Dice", "lesion_HD95_mm"), pair_of_means, strict=True))
    if "panoptic" in wanted:
        found |= dict(zip(("PQ", "SQ", "RQ"), panoptic_quality(*masks), strict=True))
    if "cldice" in wanted:
        found["clDice"] = cldice(*masks)
    return found


def _lesion_counts(reference: np.ndarray, prediction: np.ndarray, iou: float) -> dict[str, float]:
    there, predicted, matched = count_lesions(reference, prediction, iou)
    found = dict(zip(LESION_COUNTS, map(float, (there, predicted, matched)), strict=True))
    found |= {"lesion_F1": 2 * matched / (there + predicted), "lesion_false_positives": float(predicted - matched)}
    return found | ({"lesion_sensitivity": matched / there} if there else {})
