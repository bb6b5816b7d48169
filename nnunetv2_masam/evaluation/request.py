"""What a comparison is asked for."""

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
            CSV file with values that another tool measured.
        name: what tables call it; by default the folder's name, or the trainer where that tells the models apart.
    """

    source: str
    name: str | None = None


@dataclass(frozen=True)
class CompareRequest:
    """What to compare, and how.

    Attributes:
        models: the models; all of the dataset that have validation results by default.
        dataset: ID or name of the dataset whose cross-validation is compared; None for a test set, which needs
            `references` and `dataset_json`, and whose models are folders with predictions.
        references: folder of reference segmentations (with a dataset: nnU-Net's copy).
        dataset_json: of the references (with a dataset: the one beside a model).
        images: folder of the images that were segmented (with a dataset: ``imagesTr``).
        groups: CSV file with the group of each case.
        baseline: name of the model that the others are compared with; the first by default.
        folds: of the cross-validation, which needs `dataset`; all by default.
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
    dataset: str | None = None
    references: Path | None = None
    dataset_json: Path | None = None
    images: Path | None = None
    groups: Path | None = None
    baseline: str | None = None
    folds: Sequence[int] | None = None
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
        if self.dataset is None and (self.references is None or self.dataset_json is None or not self.models):
            raise ValueError(
                "a comparison needs a dataset (-d), or models with references and dataset_json "
                "(--predictions … --references DIR --dataset-json FILE)"
            )
        if self.dataset is None and self.folds is not None:
            raise ValueError(
                f"folds (--folds) are {list(self.folds)}, but a test set has none. Leave them out, or name the dataset "
                "of a cross-validation (-d)."
            )
        if self.seed < 0:
            raise ValueError(f"seed (--seed) is {self.seed}, expected 0 or more")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"processes (-np) is {self.processes}, expected 1 or more")
        for label, tolerance_mm in [("", self.tolerance_mm), *self.tolerance_by_label_mm.items()]:
            if not 0 < tolerance_mm < math.inf:
                of = f" of {label}" if label else ""
                raise ValueError(f"tolerance (--tolerance){of} is {tolerance_mm:g} mm, expected more than 0")
        self._refuse_unused_label_files()

    def _refuse_unused_label_files(self) -> None:
        files = {
            "label_map (--label-map)": self.label_map,
            "prediction_labels (--prediction-labels)": self.prediction_labels,
        }
        unused = [] if self.match_labels_by_name else [option for option, given in files.items() if given]
        if unused:
            raise ValueError(
                f"{' and '.join(unused)}: used only where labels are matched by name. "
                "Add match_labels_by_name (--match-labels-by-name), or leave the files out."
            )
