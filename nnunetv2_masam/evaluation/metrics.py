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

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, get_bbox_from_mask, pad_bbox
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn

from nnunetv2_masam.evaluation.lesions import DEFAULT_LESION_IOU, count_lesions
from nnunetv2_masam.evaluation.surfaces import Surface, boundary_iou, surface_metrics

METRICS = ("Dice", "IoU", "HD95_mm", "ASSD_mm", "NSD")
# option of --metrics: the metrics that it adds
OPTIONAL_METRICS = {
    "sensitivity": ("sensitivity",),
    "precision": ("precision",),
    "volume_error": ("relative_volume_error",),
    "boundary_iou": ("boundary_IoU",),
    "lesions": ("lesion_F1", "lesion_sensitivity", "lesion_false_positives"),
}
LESION_COUNTS = ("lesions_reference", "lesions_prediction", "lesions_matched")  # columns of cases.csv beside them
VOLUMES = ("volume_reference_ml", "volume_prediction_ml", "volume_difference_ml")
DEFAULT_TOLERANCE_MM = 2.0
EmptyCase = Literal["", "reference", "prediction", "both"]
# raised when a number that this module returns for the same input changes, so that cached values expire
METRICS_REVISION = 2


class Metric(NamedTuple):
    """How tables show a metric: heading with unit, decimals, and whether more is better."""

    heading: str
    digits: int
    higher_is_better: bool


METRIC_INFO = {
    "Dice": Metric("Dice", 4, True),
    "IoU": Metric("IoU", 4, True),
    "HD95_mm": Metric("HD95 (mm)", 2, False),
    "ASSD_mm": Metric("ASSD (mm)", 2, False),
    "NSD": Metric("NSD", 4, True),
    "sensitivity": Metric("sensitivity", 4, True),
    "precision": Metric("precision", 4, True),
    "relative_volume_error": Metric("relative volume error", 3, False),
    "boundary_IoU": Metric("boundary IoU", 4, True),
    "lesion_F1": Metric("lesion F1", 3, True),
    "lesion_sensitivity": Metric("lesion sensitivity", 3, True),
    "lesion_false_positives": Metric("false positive lesions", 2, False),
}
HIGHER_IS_BETTER = {name: metric.higher_is_better for name, metric in METRIC_INFO.items()}


@dataclass(frozen=True)
class MetricSettings:
    """What is measured, and by which definition.

    Attributes:
        optional: names from `OPTIONAL_METRICS`.
        distance_surface: surface of HD95 and ASSD.
        nsd_surface: surface of NSD.
        lesion_iou: IoU from which a predicted lesion has found one of the reference.
    """

    optional: tuple[str, ...] = ()
    distance_surface: Surface = "voxels"
    nsd_surface: Surface = "mesh"
    lesion_iou: float = DEFAULT_LESION_IOU

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.optional) - set(OPTIONAL_METRICS)):
            raise ValueError(f"optional metrics {unknown} are unknown; expected some of {list(OPTIONAL_METRICS)}")
        if not 0 < self.lesion_iou <= 1:
            raise ValueError(f"lesion_iou (--lesion-iou) is {self.lesion_iou}; expected more than 0 and at most 1")
        if self.lesion_iou != DEFAULT_LESION_IOU and "lesions" not in self.optional:
            raise ValueError(
                f"lesion_iou (--lesion-iou) is {self.lesion_iou}, but no lesions are counted. "
                "Add the metrics lesions (--metrics lesions), or leave it out."
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics, the standard ones first."""
        chosen = (metric for name, found in OPTIONAL_METRICS.items() if name in self.optional for metric in found)
        return (*METRICS, *chosen)

    @property
    def columns(self) -> tuple[str, ...]:
        """All numbers that a measured structure has."""
        return (*self.metrics, *(LESION_COUNTS if "lesions" in self.optional else ()), *VOLUMES)

    def definitions(self) -> dict[str, str]:
        """A phrase for each metric whose definition a reader cannot guess, for captions."""
        surfaces = {"voxels": "between border voxels", "mesh": "between area-weighted surfaces through voxel corners"}
        distance = surfaces[self.distance_surface]
        lesion = f"one-to-one matches of connected components with an IoU of at least {self.lesion_iou:g}"
        everything = {
            "HD95_mm": f"the larger of the two directed 95th percentiles of distances {distance}",
            "ASSD_mm": f"mean over both surfaces of distances {distance}",
            "NSD": f"share of both surfaces within the tolerance, {surfaces[self.nsd_surface]}",
            "relative_volume_error": "absolute difference of volumes divided by the reference's",
            "boundary_IoU": "IoU of the voxels within the NSD tolerance of each mask's own border",
            "lesion_F1": lesion,
            "lesion_sensitivity": lesion,
            "lesion_false_positives": "predicted lesions without a match, per case",
        }
        return {metric: everything[metric] for metric in self.metrics if metric in everything}


def library_versions() -> dict[str, str]:
    """Names and versions of what computes the metrics, for the record and the cache."""
    packages = ("nnunetv2", "scikit-image", "scipy", "numpy")
    return {package: importlib.metadata.version(package) for package in packages}


def structure_metrics(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    ignore: np.ndarray | None = None,
    diagonal_mm: float | None = None,
    settings: MetricSettings | None = None,
) -> dict[str, float | str]:
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
        (prediction minus reference) and ``empty`` (which of the masks are empty).
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference has shape {reference.shape}, prediction {prediction.shape}: must be equal")
    settings = settings or MetricSettings()
    if diagonal_mm is None:
        diagonal_mm = image_diagonal_mm(reference.shape, spacing_mm)
    if ignore is not None:
        reference, prediction = reference & ~ignore, prediction & ~ignore
    union = reference | prediction
    values: dict[str, float | str] = dict.fromkeys(settings.columns, float("nan"))
    if not union.any():
        zero = {column: 0.0 for column in (*VOLUMES, *LESION_COUNTS, "lesion_false_positives") if column in values}
        return {**values, **zero, "empty": "both"}
    crop = bounding_box_to_slice(pad_bbox(get_bbox_from_mask(union), 1, union.shape))
    reference, prediction = reference[crop], prediction[crop]
    tp, fp, fn, _ = compute_tp_fp_fn_tn(reference, prediction)
    # the expressions of nnunetv2.evaluation.evaluate_predictions.compute_metrics
    values |= {"Dice": float(2 * tp / (2 * tp + fp + fn)), "IoU": float(tp / (tp + fp + fn))}
    empty: EmptyCase = "reference" if tp + fn == 0 else "prediction" if tp + fp == 0 else ""
    if len(spacing_mm) == 2:
        reference, prediction = reference[0], prediction[0]
    if empty:
        values |= {"HD95_mm": diagonal_mm, "ASSD_mm": diagonal_mm, "NSD": 0.0}
    else:
        surfaces = (settings.distance_surface, settings.nsd_surface)
        values |= surface_metrics(reference, prediction, spacing_mm, tolerance_mm, *surfaces)
    values |= _optional_metrics(reference, prediction, spacing_mm, tolerance_mm, settings, (int(tp), int(fp), int(fn)))
    return {**values, **_volumes_ml(int(tp), int(fp), int(fn), spacing_mm), "empty": empty}


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
