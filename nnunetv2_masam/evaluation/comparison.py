"""A finished comparison: values per case, summaries per model, differences from the baseline, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.cost import Cost, model_cost
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.measure import Measured
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER, METRICS
from nnunetv2_masam.evaluation.prompted import Prompt
from nnunetv2_masam.evaluation.statistics import PairedDifference, Summary, compare_pairs, summarise

AVERAGE = "average"


@dataclass
class Comparison:
    """Everything that the tables and the report show.

    Attributes:
        title: what was compared.
        lineup: models, cases, references.
        structures: labels or regions, in order.
        records: values by model, case and structure.
        baseline: the model that the others are compared with.
        summaries: by model, structure (and `AVERAGE`) and metric.
        differences: by model (without the baseline, and without those that a prompt tells apart from it), structure
            (and `AVERAGE`) and metric.
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
    summaries: dict[str, dict[str, dict[str, Summary]]] = field(default_factory=dict)
    differences: dict[str, dict[str, dict[str, PairedDifference]]] = field(default_factory=dict)

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

    def values(self, model: str, structure: str, metric: str) -> list[float]:
        """Values in the order of the cases; `AVERAGE` is a case's mean over the structures defined in it."""
        cases = self.lineup.cases
        if structure != AVERAGE:
            return [float(self.records[model, case, structure][metric]) for case in cases]
        rows = []
        for case in cases:
            found = [float(self.records[model, case, part.name][metric]) for part in self.structures]
            rows.append(_mean([value for value in found if not math.isnan(value)]))
        return rows

    def empty_counts(self, model: str, structure: str) -> dict[str, int]:
        """How many cases have an empty reference, an empty prediction, or both."""
        found = [self.records[model, case, structure]["empty"] for case in self.lineup.cases]
        return {kind: found.count(kind) for kind in ("reference", "prediction", "both")}

    def foreground_mean(self, model: str, metric: str) -> float:
        """The mean of the structures' means: nnU-Net's ``foreground_mean``."""
        return _mean([self.summaries[model][part.name][metric].mean for part in self.structures])


def collect(
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
    """Turn what was measured into summaries and differences.

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
        seed: of the bootstrap.
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
    folds = list(lineup.folds.values())
    for model in comparison.model_names:
        comparison.summaries[model] = {
            name: {metric: summarise(comparison.values(model, name, metric), folds) for metric in comparison.metrics}
            for name in comparison.structure_names
        }
        if model != baseline and (across_prompts or not _apart(comparison, model)):
            comparison.differences[model] = _differences(comparison, model, seed)
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


def _differences(comparison: Comparison, model: str, seed: int) -> dict[str, dict[str, PairedDifference]]:
    found: dict[str, dict[str, PairedDifference]] = {name: {} for name in comparison.structure_names}
    families = [[part.name for part in comparison.structures]]
    if AVERAGE in found:
        families.append([AVERAGE])
    for metric in comparison.metrics:
        for family in families:
            pairs = compare_pairs(
                [comparison.values(model, name, metric) for name in family],
                [comparison.values(comparison.baseline, name, metric) for name in family],
                higher_is_better=HIGHER_IS_BETTER[metric],
                seed=seed,
            )
            for name, pair in zip(family, pairs, strict=True):
                found[name][metric] = pair
    return found


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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
