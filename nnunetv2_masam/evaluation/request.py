"""Options of a comparison: of a dataset's cross-validation, or of predictions on a test set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_masam.evaluation.metrics import DEFAULT_TOLERANCE_MM, MetricSettings
from nnunetv2_masam.files import cache_folder


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
    """What both kinds of comparison share.

    Attributes:
        models: the models, the baseline first unless it is named.
        images: folder of the images that were segmented (of a dataset: ``imagesTr``).
        groups: CSV file with the group of each case.
        baseline: name of the model that the others are compared with; the first by default.
        common: cut to the cases that all models share, instead of refusing.
        skip_bad: leave cases out (of all models) that cannot be measured, instead of refusing.
        match_labels_by_name: compare the labels that models and references share by name.
        label_map: JSON file of synonyms and merges; needs `match_labels_by_name`, as does `prediction_labels`.
        prediction_labels: by model's name (or None for all): the ``dataset.json`` of what it was trained on.
        oracles: by model's name: the margin (mm or None) of box prompts that were made of the reference.
        metrics: the metrics and their definitions.
        tolerance_mm: of NSD.
        tolerance_by_label_mm: of NSD, where a label has its own.
        across_prompts: also test differences between models with and without box prompts.
        seed: of the statistics.
        cache: folder of remembered values; None measures everything anew.
        processes: how many; nnU-Net's default, at most one per core, if None.
        progress: show a bar.
        title: what the comparison is about; the dataset and the number of cases follow it.
        notes: what a reader must know, before the notes on models and cases.
    """

    models: Sequence[ModelSource] = ()
    images: Path | None = None
    groups: Path | None = None
    baseline: str | None = None
    common: bool = False
    skip_bad: bool = False
    match_labels_by_name: bool = False
    label_map: Path | None = None
    prediction_labels: Mapping[str | None, Path] = field(default_factory=dict)
    oracles: Mapping[str, float | None] = field(default_factory=dict)
    metrics: MetricSettings = field(default_factory=MetricSettings)
    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    tolerance_by_label_mm: Mapping[str, float] = field(default_factory=dict)
    across_prompts: bool = False
    seed: int = 0
    cache: Path | None = field(default_factory=lambda: cache_folder() / "metrics")
    processes: int | None = None
    progress: bool = True
    title: str = ""
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed (--seed) is {self.seed}, expected 0 or more")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes (-np) is {self.processes}, expected 1 or more")
        for label, tolerance_mm in [("", self.tolerance_mm), *self.tolerance_by_label_mm.items()]:
            if not 0 < tolerance_mm < math.inf:
                of = f" of {label}" if label else ""
                raise ValueError(f"tolerance (--tolerance){of} is {tolerance_mm:g} mm, expected more than 0")
        files = {"label_map (--label-map)": self.label_map}
        files["prediction_labels (--prediction-labels)"] = self.prediction_labels or None
        unused = [] if self.match_labels_by_name else [option for option, given in files.items() if given is not None]
        if unused:
            raise ValueError(
                f"{' and '.join(unused)}: used only where labels are matched by name. "
                "Add match_labels_by_name (--match-labels-by-name), or leave the files out."
            )


@dataclass(frozen=True, kw_only=True)
class CompareCrossValidation(CompareOptions):
    """A comparison over the validation cases of a dataset.

    Attributes:
        dataset: its ID or name.
        folds: of the cross-validation; all by default.
        references: folder of reference segmentations; nnU-Net's copy by default.
        dataset_json: of the references; the one beside a model by default.
    """

    dataset: str
    folds: Sequence[int] | None = None
    references: Path | None = None
    dataset_json: Path | None = None


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
