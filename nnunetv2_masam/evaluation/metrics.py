"""One record for each metric; options, headings, checks, captions and the documentation are made from them.

`label_arrays` computes them. Lengths are millimetres and sizes millilitres, or pixels where images have no physical
size (`units`).
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnunetv2_masam.options import option

DEFAULT_LESION_IOU = 0.1
DEFAULT_TOLERANCE_MM = 2.0
SURFACES_IN_WORDS = {
    "voxels": "between border voxels",
    "mesh": "between area-weighted surfaces through voxel corners",
}
LESION_RULES = ("every", "brats-gli", "brats-ssa", "brats-ped", "brats-men", "brats-met")
_LESION = "one-to-one matches of connected components with an IoU of at least {iou:g}"
_LESION_WISE = "of each lesion, averaged over lesions; missed and invented ones count as the worst (rule: {rule})"


@dataclass(frozen=True)
class Metric:
    """Record of a metric: name, unit, direction, range, definition and option.

    Attributes:
        name: its column, with the unit.
        heading: its heading in tables, without the unit.
        definition: a phrase for captions; ``{distance}`` and ``{nsd}`` stand for the surfaces, ``{iou}`` for the
            threshold of lesions.
        unit: ``mm`` for lengths.
        digits: decimals in tables.
        higher_is_better: its direction.
        low: smallest value.
        high: largest value.
        needs_reference: it divides by the reference, and so has no value where that is empty.
        synonyms: other tools' names of it, in lower case.
        option: the name in ``--metrics`` that adds it; empty for those that every comparison has.
    """

    name: str
    heading: str
    definition: str
    unit: str = ""
    digits: int = 4
    higher_is_better: bool = True
    low: float = 0.0
    high: float = 1.0
    needs_reference: bool = False
    synonyms: tuple[str, ...] = ()
    option: str = ""

    @property
    def best(self) -> float:
        """The value of a perfect segmentation."""
        return self.high if self.higher_is_better else self.low


def _share(name: str, option: str, definition: str, **more: Any) -> Metric:
    return Metric(name, name.replace("_", " "), definition, option=option, **more)


def _size(name: str, heading: str, option: str, definition: str, digits: int = 2, **more: Any) -> Metric:
    """A metric without an upper limit, of which less is better."""
    unit = "mm" if name.endswith("_mm") else ""
    return Metric(name, heading, definition, unit, digits, False, high=math.inf, option=option, **more)


_DISTANCE_95 = "the larger of the two directed 95th percentiles of distances {distance}"
METRICS = {
    metric.name: metric
    for metric in (
        _share("Dice", "", "as nnU-Net computes it", synonyms=("dsc",)),
        _share("IoU", "", "as nnU-Net computes it", synonyms=("jaccard",)),
        _size("HD95_mm", "HD95", "", _DISTANCE_95, synonyms=("hd95",)),
        _size("ASSD_mm", "ASSD", "", "mean over both surfaces of distances {distance}", synonyms=("assd",)),
        _share("NSD", "", "share of both surfaces within the tolerance, {nsd}"),
        _share("sensitivity", "sensitivity", "share of the reference's voxels that are found", needs_reference=True),
        _share("precision", "precision", "share of the predicted voxels that are right"),
        _size(
            *("relative_volume_error", "relative volume error", "volume_error"),
            "absolute difference of volumes divided by the reference's",
            digits=3,
            needs_reference=True,
        ),
        _share("boundary_IoU", "boundary_iou", "IoU of the voxels within the NSD tolerance of each mask's own border"),
        _share("lesion_F1", "lesions", _LESION, digits=3),
        _share("lesion_sensitivity", "lesions", _LESION, digits=3, needs_reference=True),
        _size(
            *("lesion_false_positives", "false positive lesions", "lesions"),
            "predicted lesions without a match, per case",
        ),
        _share("lesion_Dice", "lesion_wise", f"Dice {_LESION_WISE}"),
        _size("lesion_HD95_mm", "lesion HD95", "lesion_wise", f"HD95 {_LESION_WISE}"),
        _share("PQ", "panoptic", "panoptic quality of lesions, the product of SQ and RQ"),
        _share("SQ", "panoptic", "mean IoU of lesions that match with an IoU of at least 0.5"),
        _share("RQ", "panoptic", "F1 of lesions that match with an IoU of at least 0.5"),
        _share("clDice", "cldice", "harmonic mean of the shares of each centreline in the other mask"),
    )
}
STANDARD = tuple(metric.name for metric in METRICS.values() if not metric.option)
OPTIONS = tuple(dict.fromkeys(metric.option for metric in METRICS.values() if metric.option))
LESION_COUNTS = ("lesions_reference", "lesions_prediction", "lesions_matched")
VOLUMES = ("volume_reference_ml", "volume_prediction_ml", "volume_difference_ml")


@dataclass(frozen=True)
class MetricSettings:
    """Which metrics are measured, and by which definition."""

    optional: tuple[str, ...] = option(
        "--metrics",
        default=(),
        choices=OPTIONS,
        metavar="NAME",
        group="metrics",
        help=f"Further metrics, of: {', '.join(OPTIONS)} (default: none)",
    )
    distance_surface: str = option(
        default="voxels",
        choices=tuple(SURFACES_IN_WORDS),
        metavar="SURFACE",
        group="metrics",
        help="Surface of HD95 and ASSD: voxels (on the border), or the area-weighted mesh of NSD",
    )
    nsd_surface: str = option(
        default="mesh",
        choices=tuple(SURFACES_IN_WORDS),
        metavar="SURFACE",
        group="metrics",
        help="Surface of NSD: mesh (area-weighted), or voxels on the border",
    )
    lesion_iou: float = option(
        default=DEFAULT_LESION_IOU,
        above=0,
        metavar="X",
        group="metrics",
        help="With --metrics lesions: IoU from which a lesion counts as found",
    )
    lesion_rule: str = option(
        default="every",
        choices=LESION_RULES,
        metavar="RULE",
        group="metrics",
        help=f"With --metrics lesion_wise: what counts as a lesion, of: {', '.join(LESION_RULES)}",
    )

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.optional) - set(OPTIONS)):
            raise ValueError(f"optional metrics {unknown} are unknown; expected some of {list(OPTIONS)}")
        if not 0 < self.lesion_iou <= 1:
            raise ValueError(f"lesion_iou (--lesion-iou) is {self.lesion_iou}; expected more than 0 and at most 1")
        if self.lesion_iou != DEFAULT_LESION_IOU and "lesions" not in self.optional:
            raise ValueError(
                f"lesion_iou (--lesion-iou) is {self.lesion_iou}, but no lesions are counted. "
                "Add the metrics lesions (--metrics lesions), or leave it out."
            )
        if self.lesion_rule not in LESION_RULES:
            raise ValueError(f"lesion_rule (--lesion-rule) is {self.lesion_rule!r}; expected one of {LESION_RULES}")
        if self.lesion_rule != "every" and "lesion_wise" not in self.optional:
            raise ValueError(
                f"lesion_rule (--lesion-rule) is {self.lesion_rule}, but lesions are not measured one by one. "
                "Add the metrics lesion_wise (--metrics lesion_wise), or leave it out."
            )

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics, the standard ones first."""
        return tuple(name for name, metric in METRICS.items() if metric.option in ("", *self.optional))

    @property
    def columns(self) -> tuple[str, ...]:
        """All numbers that a measured structure has."""
        return (*self.metrics, *(LESION_COUNTS if "lesions" in self.optional else ()), *VOLUMES)

    def definitions(self) -> dict[str, str]:
        """A phrase for each metric, for captions."""
        distance, nsd = SURFACES_IN_WORDS[self.distance_surface], SURFACES_IN_WORDS[self.nsd_surface]
        return {
            name: METRICS[name].definition.format(
                distance=distance, nsd=nsd, iou=self.lesion_iou, rule=self.lesion_rule
            )
            for name in self.metrics
        }


def structure_metrics(
    reference: Any,
    prediction: Any,
    spacing_mm: Sequence[float],
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    settings: MetricSettings | None = None,
) -> dict[str, Any]:
    """Measure one structure in two boolean masks (D, H, W): `label_arrays.measure_labels` for Python users."""
    import numpy as np

    from nnunetv2_masam.evaluation.label_arrays import measure_labels
    from nnunetv2_masam.evaluation.labels import Structure

    masks, mask = (np.asarray(reference, np.uint8), np.asarray(prediction, np.uint8)), Structure("mask", "", (1,), (1,))
    (row,) = measure_labels(*masks, [mask], spacing_mm, [tolerance_mm], None, settings)
    return {name: value for name, value in row.items() if name != "label"}


def library_versions() -> dict[str, str]:
    """Names and versions of what computes the metrics, for the record and the cache."""
    packages = ("nnunetv2", "scikit-image", "scipy", "numpy")
    return {package: importlib.metadata.version(package) for package in packages}
