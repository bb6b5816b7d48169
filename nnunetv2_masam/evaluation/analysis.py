"""From measured values to a comparison: summaries, differences from the baseline, detection, rankings, groups, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.comparison import AVERAGE, Comparison, Differences, Group, Summaries
from nnunetv2_masam.evaluation.detection import compare_detection, detect
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.measure import Measured
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER
from nnunetv2_masam.evaluation.model_cost import model_cost
from nnunetv2_masam.evaluation.ranking import rank_models
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
        images: folder of the images that were segmented.
        seed: of permutation tests and bootstrap.
        across_prompts: also test differences between models with and without box prompts.
    """
    records = {
        (result.model, result.case, name): values for result in measured for name, values in result.values.items()
    }
    comparison = Comparison(
        title=title,
        lineup=lineup,
        structures=structures[baseline],
        records=records,
        baseline=baseline,
        settings=settings,
        reader=reader,
        file_ending=file_ending,
        structures_of=structures,
        notes=list(lineup.notes),
        images=images,
    )
    for model in comparison.model_names[1:]:
        if across_prompts or not _apart(comparison, model):
            comparison.differences[model] = {}
    everything = range(len(lineup.cases))
    comparison.summaries = _summaries(comparison, everything)
    comparison.differences = _differences(comparison, list(comparison.differences), everything, seed)
    _add_detection(comparison)
    _add_rankings(comparison, seed)
    _add_groups(comparison, seed)
    comparison.costs |= {model.name: model_cost(model) for model in lineup.models}
    comparison.notes += _check_against_nnunet(comparison) + _prompt_notes(comparison)
    return comparison


def _apart(comparison: Comparison, model: str) -> bool:
    """Whether one of model and baseline was prompted and the other not."""
    prompts = comparison.prompts
    return (prompts[model] is None) != (prompts[comparison.baseline] is None)


def _prompt_notes(comparison: Comparison) -> list[str]:
    """Which models were told where to look, and what is therefore not claimed."""
    prompted = [f"{name} ({prompt.text})" for name, prompt in comparison.prompts.items() if prompt is not None]
    if not prompted:
        return []
    note = f"given box prompts: {', '.join(prompted)}. An oracle box is made of the reference itself."
    if len(prompted) < len(comparison.model_names):
        note += " Such results say what a user's box is worth, not which model finds more by itself"
        untested = [n for n in comparison.model_names[1:] if n not in comparison.differences]
        if untested:
            note += f"; no difference from {comparison.baseline} is tested for {', '.join(untested)} (--across-prompts)"
        note += "."
    return [note]


def _summaries(comparison: Comparison, places: Sequence[int]) -> Summaries:
    """Summaries of all models over some cases, by their place."""
    folds = list(comparison.lineup.folds.values())

    def summary(model: str, name: str, metric: str) -> Summary:
        values = comparison.values(model, name, metric)
        return summarise([values[i] for i in places], [folds[i] for i in places])

    return {
        model: {
            name: {metric: summary(model, name, metric) for metric in comparison.metrics}
            for name in comparison.structure_names
        }
        for model in comparison.model_names
    }


def _differences(comparison: Comparison, models: Sequence[str], places: Sequence[int], seed: int) -> Differences:
    """Differences of models from the baseline over some cases, by their place."""
    found: Differences = {model: {name: {} for name in comparison.structure_names} for model in models}
    families = [[part.name for part in comparison.structures]]
    if AVERAGE in comparison.structure_names:
        families.append([AVERAGE])
    folds = list(comparison.lineup.folds.values())
    for model in models:
        for metric in comparison.metrics:
            for family in families:
                rows = [_scored_cases(comparison, model, name, metric, places) for name in family]
                pairs = compare_pairs(
                    [[ours for _, ours, _ in row] for row in rows],
                    [[theirs for _, _, theirs in row] for row in rows],
                    higher_is_better=HIGHER_IS_BETTER[metric],
                    seed=seed,
                    folds=[[folds[i] for i, _, _ in row] for row in rows],
                )
                for name, pair in zip(family, pairs, strict=True):
                    found[model][name][metric] = pair
    return found


def _scored_cases(
    comparison: Comparison, model: str, name: str, metric: str, places: Sequence[int]
) -> list[tuple[int, float, float]]:
    """Place, score of the model and of the baseline, for the cases that have scores.

    A missing score is no empty mask here: either the metric has none in any model, or it is not known of one.
    """
    ours, theirs = (comparison.values(each, name, metric) for each in (model, comparison.baseline))
    return [(i, ours[i], theirs[i]) for i in places if not math.isnan(ours[i]) and not math.isnan(theirs[i])]


def _add_detection(comparison: Comparison) -> None:
    names = [part.name for part in comparison.structures]
    kinds = {model: [comparison.empty(model, name) for name in names] for model in comparison.model_names}
    for model, rows in kinds.items():
        comparison.detections[model] = {name: detect(row) for name, row in zip(names, rows, strict=True)}
    for model in comparison.differences:
        found = compare_detection(kinds[model], kinds[comparison.baseline])
        comparison.detection_differences[model] = dict(zip(names, found, strict=True))


def _add_rankings(comparison: Comparison, seed: int) -> None:
    models = [model for model in comparison.model_names if comparison.prompts[model] is None]
    if len(models) < MIN_MODELS_TO_RANK:
        return
    for name in comparison.structure_names:
        comparison.rankings[name] = {}
        for metric in comparison.metrics:
            scores = {model: np.array(comparison.values(model, name, metric)) for model in models}
            ranking = rank_models(scores, higher_is_better=HIGHER_IS_BETTER[metric], seed=seed)
            if ranking is not None:
                comparison.rankings[name][metric] = ranking


def _add_groups(comparison: Comparison, seed: int) -> None:
    cases, group_of = comparison.lineup.cases, comparison.lineup.groups
    for group in sorted(set(group_of.values())):
        places = [i for i, case in enumerate(cases) if group_of.get(case) == group]
        comparison.groups[group] = Group(
            [cases[i] for i in places],
            _summaries(comparison, places),
            _differences(comparison, list(comparison.differences), places, seed),
        )


def _check_against_nnunet(comparison: Comparison) -> list[str]:
    """Our Dice must be the one in nnU-Net's ``summary.json``; where it is not, a file changed in between."""
    notes = []
    for model in comparison.lineup.models:
        differing = []
        for case in comparison.lineup.cases:
            recorded = model.nnunet_metrics.get(case, {})
            for part in comparison.structures:
                if part.key not in recorded:
                    continue
                theirs = recorded[part.key]["Dice"]
                ours = float(comparison.records[model.name, case, part.name]["Dice"])
                if ours != theirs and not (math.isnan(ours) and (theirs is None or math.isnan(theirs))):
                    differing.append(f"{case} {part.name}: {ours!r}, summary.json {theirs!r}")
        if differing:
            notes.append(
                f"{model.name}: Dice differs from nnU-Net's summary.json, so predictions or references have "
                f"changed since it was written ({len(differing)} values; {differing[0]})"
            )
    return notes
