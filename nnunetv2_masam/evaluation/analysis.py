"""From measured values to a comparison: summaries, differences from the baseline, detection, rankings, groups, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.comparison import (
    Comparison,
    DetectionDifferences,
    Detections,
    Differences,
    Group,
    Rankings,
    Summaries,
)
from nnunetv2_masam.evaluation.detection import compare_detection, detect
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.measure import Measured
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER, METRICS
from nnunetv2_masam.evaluation.model_cost import model_cost
from nnunetv2_masam.evaluation.prompted import Prompt
from nnunetv2_masam.evaluation.ranking import rank_models
from nnunetv2_masam.evaluation.scores import AVERAGE, Records, Scores
from nnunetv2_masam.evaluation.statistics import Summary, compare_pairs, summarise

MIN_MODELS_TO_RANK = 3


def analyse(
    lineup: LineUp,
    measured: Sequence[Measured],
    structures: Mapping[str, tuple[Structure, ...]],
    *,
    title: str,
    baseline: str,
    settings: Mapping[str, Any],
    reader: type[BaseReaderWriter],
    file_ending: str,
    notes: Sequence[str] = (),
    images: Path | None = None,
    seed: int = 0,
    across_prompts: bool = False,
) -> Comparison:
    """Turn what was measured into summaries, differences, rankings and costs.

    Args:
        lineup: the models and cases; every case of every model must be in `measured`, without error.
        measured: values per model and case.
        structures: by model: labels or regions, the same names in the same order.
        title: what was compared.
        baseline: name of the model to compare the others with.
        settings: for the record.
        reader: nnU-Net's reader of the files.
        file_ending: of the files.
        notes: what a reader must know, before what the line-up and the values say.
        images: folder of the images that were segmented.
        seed: of permutation tests and bootstrap.
        across_prompts: also test differences between models with and without box prompts.
    """
    records = {
        (result.model, result.case, name): values for result in measured for name, values in result.values.items()
    }
    given = {model.name: model.prompt for model in lineup.models}
    prompts = {baseline: given.pop(baseline), **given}
    scores = Scores(records, list(prompts), lineup.cases, [part.name for part in structures[baseline]])
    tested = [name for name in given if across_prompts or _comparable(prompts, name, baseline)]
    unprompted = [name for name, prompt in prompts.items() if prompt is None]
    analysis = _Analysis(scores, lineup, tuple(settings.get("metrics", METRICS)), seed)
    changed_files = _check_against_nnunet(lineup, records, structures[baseline])
    return Comparison(
        title=title,
        lineup=lineup,
        structures=structures[baseline],
        scores=scores,
        baseline=baseline,
        settings=settings,
        reader=reader,
        file_ending=file_ending,
        structures_of=structures,
        summaries=analysis.summaries(),
        differences=analysis.differences(tested),
        detections=analysis.detections(),
        detection_differences=analysis.detection_differences(tested),
        rankings=analysis.rankings(unprompted),
        groups=analysis.groups(tested),
        costs={model.name: model_cost(model) for model in lineup.models},
        notes=[*notes, *lineup.notes, *changed_files, *_prompt_notes(prompts, baseline, tested)],
        images=images,
    )


def _comparable(prompts: Mapping[str, Prompt | None], model: str, baseline: str) -> bool:
    """Whether both or none of model and baseline were prompted."""
    return (prompts[model] is None) == (prompts[baseline] is None)


def _prompt_notes(prompts: Mapping[str, Prompt | None], baseline: str, tested: Sequence[str]) -> list[str]:
    """Which models were told where to look, and what is therefore not claimed."""
    prompted = [f"{name} ({prompt.text})" for name, prompt in prompts.items() if prompt is not None]
    if not prompted:
        return []
    note = f"given box prompts: {', '.join(prompted)}. An oracle box is made of the reference itself."
    if len(prompted) < len(prompts):
        note += " Such results say what a user's box is worth, not which model finds more by itself"
        untested = [name for name in prompts if name != baseline and name not in tested]
        if untested:
            note += f"; no difference from {baseline} is tested for {', '.join(untested)} (--across-prompts)"
        note += "."
    return [note]


@dataclass(frozen=True)
class _Analysis:
    """What is computed from the scores.

    Attributes:
        scores: the baseline is the first of their models.
        lineup: knows folds and groups of the cases.
        metrics: to go through.
        seed: of permutation tests and bootstrap.
    """

    scores: Scores
    lineup: LineUp
    metrics: tuple[str, ...]
    seed: int

    def summaries(self, places: Sequence[int] | None = None) -> Summaries:
        """Summaries of all models over some cases, by their place; over all cases by default."""
        folds, places = list(self.lineup.folds.values()), self._places(places)

        def summary(model: str, name: str, metric: str) -> Summary:
            values = self.scores.values(model, name, metric)
            return summarise([values[i] for i in places], [folds[i] for i in places])

        return {
            model: {
                name: {metric: summary(model, name, metric) for metric in self.metrics} for name in self.scores.names
            }
            for model in self.scores.models
        }

    def differences(self, models: Sequence[str], places: Sequence[int] | None = None) -> Differences:
        """Differences of models from the baseline over some cases, by their place; over all cases by default."""
        found: Differences = {model: {name: {} for name in self.scores.names} for model in models}
        families = [list(self.scores.structures)]
        if AVERAGE in self.scores.names:
            families.append([AVERAGE])
        folds, places = list(self.lineup.folds.values()), self._places(places)
        for model, metric, family in product(models, self.metrics, families):
            rows = [self._scored_cases(model, name, metric, places) for name in family]
            pairs = compare_pairs(
                [[ours for _, ours, _ in row] for row in rows],
                [[theirs for _, _, theirs in row] for row in rows],
                higher_is_better=HIGHER_IS_BETTER[metric],
                seed=self.seed,
                folds=[[folds[i] for i, _, _ in row] for row in rows],
            )
            for name, pair in zip(family, pairs, strict=True):
                found[model][name][metric] = pair
        return found

    def _scored_cases(
        self, model: str, name: str, metric: str, places: Sequence[int]
    ) -> list[tuple[int, float, float]]:
        """Place, score of the model and of the baseline, for the cases that have scores.

        A missing score is no empty mask here: either the metric has none in any model, or it is not known of one.
        """
        ours, theirs = (self.scores.values(each, name, metric) for each in (model, self.scores.models[0]))
        return [(i, ours[i], theirs[i]) for i in places if not math.isnan(ours[i]) and not math.isnan(theirs[i])]

    def _places(self, places: Sequence[int] | None) -> Sequence[int]:
        return range(len(self.lineup.cases)) if places is None else places

    def _empty(self, model: str) -> list[list[str]]:
        return [self.scores.empty(model, name) for name in self.scores.structures]

    def detections(self) -> Detections:
        """Whether each model finds each structure."""
        return {
            model: dict(zip(self.scores.structures, map(detect, self._empty(model)), strict=True))
            for model in self.scores.models
        }

    def detection_differences(self, models: Sequence[str]) -> DetectionDifferences:
        """Models against the baseline in finding the structures."""
        baseline = self._empty(self.scores.models[0])
        return {
            model: dict(zip(self.scores.structures, compare_detection(self._empty(model), baseline), strict=True))
            for model in models
        }

    def rankings(self, models: Sequence[str]) -> Rankings:
        """Rankings by structure and metric, where there are enough models and scores."""
        if len(models) < MIN_MODELS_TO_RANK:
            return {}
        found: Rankings = {name: {} for name in self.scores.names}
        for name, metric in product(self.scores.names, self.metrics):
            scores = {model: np.array(self.scores.values(model, name, metric)) for model in models}
            ranking = rank_models(scores, higher_is_better=HIGHER_IS_BETTER[metric], seed=self.seed)
            if ranking is not None:
                found[name][metric] = ranking
        return found

    def groups(self, models: Sequence[str]) -> dict[str, Group]:
        """Summaries of all models and differences of some, within each group of cases."""
        cases, group_of = self.lineup.cases, self.lineup.groups
        found = {}
        for group in sorted(set(group_of.values())):
            places = [i for i, case in enumerate(cases) if group_of.get(case) == group]
            names = [cases[i] for i in places]
            found[group] = Group(names, self.summaries(places), self.differences(models, places))
        return found


def _check_against_nnunet(lineup: LineUp, records: Records, structures: Sequence[Structure]) -> list[str]:
    """Our Dice must be the one in nnU-Net's ``summary.json``; where it is not, a file changed in between."""
    notes = []
    for model in lineup.models:
        differing = []
        for case in lineup.cases:
            recorded = model.nnunet_metrics.get(case, {})
            for part in structures:
                if part.key not in recorded:
                    continue
                theirs = recorded[part.key]["Dice"]
                ours = float(records[model.name, case, part.name]["Dice"])
                if ours != theirs and not (math.isnan(ours) and (theirs is None or math.isnan(theirs))):
                    differing.append(f"{case} {part.name}: {ours!r}, summary.json {theirs!r}")
        if differing:
            notes.append(
                f"{model.name}: Dice differs from nnU-Net's summary.json, so predictions or references have "
                f"changed since it was written ({len(differing)} values; {differing[0]})"
            )
    return notes
