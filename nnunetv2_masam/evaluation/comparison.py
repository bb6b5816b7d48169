"""A finished comparison: scores per case, summaries per model, differences from the baseline, rankings, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.detection import Detection, DetectionDifference
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER, METRICS
from nnunetv2_masam.evaluation.model_cost import Cost
from nnunetv2_masam.evaluation.prompted import Prompt
from nnunetv2_masam.evaluation.ranking import Ranking
from nnunetv2_masam.evaluation.scores import Scores
from nnunetv2_masam.evaluation.statistics import PairedDifference, Summary

AVERAGE = "average"

Summaries = dict[str, dict[str, dict[str, Summary]]]
Differences = dict[str, dict[str, dict[str, PairedDifference]]]


@dataclass
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


@dataclass
class Comparison:
    """Everything that the tables and the report show.

    Attributes:
        title: what was compared.
        lineup: models, cases, references.
        structures: labels or regions, in order.
        records: values by model, case and structure, as measured.
        baseline: the model that the others are compared with.
        summaries: by model, structure (and `AVERAGE`) and metric.
        differences: by model (without the baseline, and without those that a prompt tells apart from it), structure
            (and `AVERAGE`) and metric.
        detections: whether structures are found, by model and structure.
        detection_differences: by model (as in `differences`) and structure.
        rankings: by structure (and `AVERAGE`) and metric, over models without a prompt if there are enough of them.
        groups: by name of the group, in the order of the names.
        costs: by model.
        settings: tolerances, seed, library versions and the like, for the record.
        reader: nnU-Net's reader of the files.
        file_ending: of the files.
        structures_of: the same by model, as predictions may use other label values.
        notes: what a reader must know.
        images: folder of the images that were segmented, if they are at hand.
    """

    title: str
    lineup: LineUp
    structures: tuple[Structure, ...]
    records: Mapping[tuple[str, str, str], Mapping[str, Any]]
    baseline: str
    settings: Mapping[str, Any]
    reader: type[BaseReaderWriter]
    file_ending: str
    structures_of: Mapping[str, tuple[Structure, ...]]
    notes: list[str] = field(default_factory=list)
    images: Path | None = None
    costs: dict[str, Cost] = field(default_factory=dict)
    summaries: Summaries = field(default_factory=dict)
    differences: Differences = field(default_factory=dict)
    detections: dict[str, dict[str, Detection]] = field(default_factory=dict)
    detection_differences: dict[str, dict[str, DetectionDifference]] = field(default_factory=dict)
    rankings: dict[str, dict[str, Ranking]] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)

    @property
    def model_names(self) -> list[str]:
        """The baseline first, the others as given."""
        names = [model.name for model in self.lineup.models]
        return [self.baseline, *(name for name in names if name != self.baseline)]

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
        names = [structure.name for structure in self.structures]
        return [*names, AVERAGE] if len(names) > 1 else names

    @cached_property
    def scores(self) -> Scores:
        """What is compared, by the rule for empty masks."""
        names = [structure.name for structure in self.structures]
        return Scores(self.records, self.model_names, self.lineup.cases, names)

    def values(self, model: str, structure: str, metric: str) -> list[float]:
        """Scores in the order of the cases; of `AVERAGE`, a case's mean over the structures that have one.

        `metric` may be another column of the records, such as a volume: then its values as measured.
        """
        if metric not in HIGHER_IS_BETTER:
            return [float(self.records[model, case, structure][metric]) for case in self.lineup.cases]
        average = structure == AVERAGE
        found = self.scores.average(model, metric) if average else self.scores.of(model, structure, metric)
        return [float(value) for value in found]

    def empty(self, model: str, structure: str) -> list[str]:
        """Which of the masks are empty, in the order of the cases."""
        return [str(self.records[model, case, structure]["empty"]) for case in self.lineup.cases]

    def empty_counts(self, model: str, structure: str) -> dict[str, int]:
        """How many cases have an empty reference, an empty prediction, or both."""
        found = self.empty(model, structure)
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
