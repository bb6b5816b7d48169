"""Options of a comparison: of a dataset's cross-validation, or of predictions on a test set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_masam.evaluation.metrics import DEFAULT_TOLERANCE_MM, METRICS, MetricSettings
from nnunetv2_masam.files import cache_folder
from nnunetv2_masam.options import check_exclusive, option

SEEN = " (seen)"  # in the name of a model that may have been trained on the cases
CASES, STATISTICS, SPEED = "cases and labels", "statistics", "speed"


@dataclass(frozen=True)
class ModelSource:
    """A model to compare.

    Attributes:
        source: ``trainer``, ``trainer__plans__configuration`` (both with ``@k3`` for few-shot folds), a folder, or a
            CSV file with values that another tool measured. Several, joined by commas, are trainings of one model.
        name: what tables call it; by default the folder's name, or the trainer where that tells the models apart.
    """

    source: str
    name: str | None = None

    @classmethod
    def parse(cls, specification: str) -> ModelSource:
        """Read ``LABEL=model`` or ``model``."""
        label, equals, rest = specification.partition("=")
        if equals and not (label and rest):
            raise ValueError(f"{specification!r}: expected LABEL=folder or LABEL=trainer__plans__configuration")
        return cls(rest, label) if equals else cls(specification)


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What both kinds of comparison share; the fields that are no options are written in another form there.

    Attributes:
        models: the models; the first is the baseline unless it is named.
        tolerance_mm: of NSD.
        tolerance_by_label_mm: of NSD, where a label has its own.
        oracles: by model's name: the margin (mm or None) of box prompts that were made of the reference.
        prediction_labels: by model's name (or None for all): the ``dataset.json`` of what it was trained on; needs
            `match_labels_by_name`, as does `label_map`.
        margins: by metric: the largest difference that does not matter.
        seen: models whose weights may have been trained on the cases.
        progress: show a bar.
        title: what the comparison is about; the dataset and the number of cases follow it.
        notes: what a reader must know, before the notes on models and cases.
    """

    models: Sequence[ModelSource] = ()
    images: Path | None = option(
        default=None,
        metavar="DIR",
        group="input",
        help="Folder with the images, case_0000 and so on: for the report, and to tell which header is off where a "
        "prediction and its reference differ (default with -d: imagesTr)",
    )
    groups: Path | None = option(
        default=None, metavar="FILE", group="input", help="CSV file with the columns case and group, such as the site"
    )
    common: bool = option(
        default=False, group=CASES, help="Cut to the cases that all models share, instead of refusing"
    )
    skip_bad: bool = option(
        default=False, group=CASES, help="Leave out cases that cannot be measured, instead of refusing"
    )
    match_labels_by_name: bool = option(
        default=False, group=CASES, help="Compare the labels that models and references share"
    )
    label_map: Path | None = option(
        default=None,
        metavar="FILE",
        group=CASES,
        help='With --match-labels-by-name: JSON file of synonyms and merges, {"name": ["synonym", ["a", "b"]]}',
    )
    metrics: MetricSettings = field(default_factory=MetricSettings)
    baseline: str | None = option(
        default=None,
        metavar="NAME",
        group=STATISTICS,
        help="Model that the others are compared with (default: the first)",
    )
    seed: int = option(default=0, at_least=0, metavar="N", group=STATISTICS, help="Seed of the statistics")
    across_prompts: bool = option(
        default=False, group=STATISTICS, help="Also test differences between models with and without box prompts"
    )
    rank_unseen: bool = option(default=False, group=STATISTICS, help="Leave the models of --seen out of the ranking")
    calibration: bool = option(
        default=False,
        group=STATISTICS,
        help="Calibration of models with probabilities, read from case.npz beside their predictions",
    )
    cache: Path | None = option(
        default=None,
        metavar="DIR",
        group=SPEED,
        exclusive="cache",
        help="Where measured values are remembered (default: metrics in the cache folder)",
    )
    no_cache: bool = option(
        default=False, group=SPEED, exclusive="cache", help="Measure everything anew, and remember nothing"
    )
    processes: int | None = option(
        "-np",
        "--processes",
        default=None,
        at_least=1,
        metavar="N",
        group=SPEED,
        help="Number of processes (default: nnU-Net's, at most one per core)",
    )
    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    tolerance_by_label_mm: Mapping[str, float] = field(default_factory=dict)
    oracles: Mapping[str, float | None] = field(default_factory=dict)
    prediction_labels: Mapping[str | None, Path] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)
    seen: tuple[str, ...] = ()
    progress: bool = True
    title: str = ""
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_exclusive(self)
        if self.seed < 0:
            raise ValueError(f"seed (--seed) is {self.seed}, expected 0 or more")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes (-np) is {self.processes}, expected 1 or more")
        for label, tolerance_mm in [("", self.tolerance_mm), *self.tolerance_by_label_mm.items()]:
            if not 0 < tolerance_mm < math.inf:
                of = f" of {label}" if label else ""
                raise ValueError(f"tolerance (--tolerance){of} is {tolerance_mm:g} mm, expected more than 0")
        for metric, margin in self.margins.items():
            if metric not in self.metrics.metrics:
                raise ValueError(
                    f"margin (--margin) of {metric}: expected one of the metrics {', '.join(self.metrics.metrics)}"
                )
            if not 0 < margin < (METRICS[metric].high - METRICS[metric].low):
                raise ValueError(f"margin (--margin) of {metric} is {margin:g}, expected a difference above 0")
        if self.calibration and self.match_labels_by_name:
            raise ValueError(
                "calibration (--calibration): the channels of probabilities have no names, so labels cannot be matched "
                "by name (--match-labels-by-name). Leave one of them out."
            )
        files = {"label_map (--label-map)": self.label_map is not None}
        files["prediction_labels (--prediction-labels)"] = bool(self.prediction_labels)
        unused = [] if self.match_labels_by_name else [name for name, given in files.items() if given]
        if unused:
            raise ValueError(
                f"{' and '.join(unused)}: used only where labels are matched by name. "
                "Add match_labels_by_name (--match-labels-by-name), or leave the files out."
            )

    @property
    def memory(self) -> Path | None:
        """The folder of remembered values; None remembers nothing."""
        return None if self.no_cache else self.cache or cache_folder() / "metrics"


@dataclass(frozen=True, kw_only=True)
class CompareCrossValidation(CompareOptions):
    """A comparison over the validation cases of a dataset; all of its models if none is named."""

    dataset: str = option("-d", "--dataset", metavar="ID", group="input", help="Number or name of the dataset")
    folds: tuple[int, ...] | None = option(
        default=None, at_least=0, metavar="F", group=CASES, help="Only these folds (default: all)"
    )
    references: Path | None = option(
        default=None,
        metavar="DIR",
        group="input",
        help="Folder with reference segmentations (default with -d: nnU-Net's copy)",
    )
    dataset_json: Path | None = option(
        default=None, metavar="FILE", group="input", help="dataset.json of the references (default with -d: a model's)"
    )


@dataclass(frozen=True, kw_only=True)
class CompareTestSet(CompareOptions):
    """A comparison of folders with predictions of the same cases.

    Attributes:
        references: folder of reference segmentations.
        dataset_json: of the references.
    """

    references: Path
    dataset_json: Path

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models:
            raise ValueError("a comparison on a test set needs models (--predictions NAME=DIR …)")


CompareRequest = CompareCrossValidation | CompareTestSet
