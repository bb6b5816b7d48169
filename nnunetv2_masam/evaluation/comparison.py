"""A finished comparison: scores per case, summaries per model, differences from the baseline, rankings, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.detection import Detection, DetectionDifference
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.model_cost import Cost
from nnunetv2_masam.evaluation.prompted import Prompt
from nnunetv2_masam.evaluation.ranking import Ranking
from nnunetv2_masam.evaluation.scores import Records, Scores
from nnunetv2_masam.evaluation.statistics import PairedDifference, Summary

Summaries = dict[str, dict[str, dict[str, Summary]]]
Differences = dict[str, dict[str, dict[str, PairedDifference]]]
Detections = dict[str, dict[str, Detection]]
DetectionDifferences = dict[str, dict[str, DetectionDifference]]
Rankings = dict[str, dict[str, Ranking]]


@dataclass(frozen=True)
class Group:
    """What a comparison says about the cases of one group, such as a site.

    Attributes:
        cases: their names.
        summaries: by model, structure (and `AVERAGE`) and metric.
        differences: by model, structure (and `AVERAGE`) and metric; corrected over labels within the group.
    """

    cases: list[str]
    summaries: Summaries
    differences: Differences


@dataclass(frozen=True)
class Comparison:
    """Everything that the tables and the report show.

    Attributes:
        title: what was compared.
        lineup: models, cases, references.
        structures: labels or regions, in order.
        scores: what is compared, by the rule for empty masks.
        baseline: the model that the others are compared with.
        settings: tolerances, seed, library versions and the like, for the record.
        reader: nnU-Net's reader of the files.
        file_ending: of the files.
        structures_of: the same as `structures` by model, as predictions may use other label values.
        summaries: by model, structure (and `AVERAGE`) and metric.
        differences: by model (without the baseline, and without those that a prompt tells apart from it), structure
            (and `AVERAGE`) and metric.
        detections: whether structures are found, by model and structure.
        detection_differences: by model (as in `differences`) and structure.
        rankings: by structure (and `AVERAGE`) and metric, over models without a prompt if there are enough of them.
        groups: by name of the group, in the order of the names.
        costs: by model.
        notes: what a reader must know.
        images: folder of the images that were segmented, if they are at hand.
    """

    title: str
    lineup: LineUp
    structures: tuple[Structure, ...]
    scores: Scores
    baseline: str
    settings: Mapping[str, Any]
    reader: type[BaseReaderWriter]
    file_ending: str
    structures_of: Mapping[str, tuple[Structure, ...]]
    summaries: Summaries
    differences: Differences
    detections: Detections
    detection_differences: DetectionDifferences
    rankings: Rankings
    groups: dict[str, Group]
    costs: dict[str, Cost]
    notes: list[str]
    images: Path | None = None

    @property
    def records(self) -> Records:
        """Values by model, case and structure, as measured."""
        return self.scores.records

    @property
    def model_names(self) -> list[str]:
        """The baseline first, the others as given."""
        return list(self.scores.models)

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics, the standard ones first."""
        return tuple(self.settings.get("metrics", METRICS))

    @property
    def prompts(self) -> dict[str, Prompt | None]:
        """What each model was prompted with."""
        return {model.name: model.prompt for model in self.lineup.models}

    @property
    def structure_names(self) -> list[str]:
        """The structures, then the average over them where there are several."""
        return self.scores.names

    def values(self, model: str, structure: str, metric: str) -> list[float]:
        """Scores, or another column of the records, in the order of the cases: `Scores.values`."""
        return self.scores.values(model, structure, metric)

    def empty_counts(self, model: str, structure: str) -> dict[str, int]:
        """How many cases have an empty reference, an empty prediction, or both."""
        found = self.scores.empty(model, structure)
        return {kind: found.count(kind) for kind in ("reference", "prediction", "both")}

    def foreground_mean(self, model: str, metric: str) -> float:
        """The mean of the structures' means as nnU-Net's ``foreground_mean`` has it: cases with a value only."""
        means = []
        for part in self.structures:
            found = [float(self.records[model, case, part.name][metric]) for case in self.lineup.cases]
            means.append(_mean([value for value in found if not math.isnan(value)]))
        return _mean(means)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
