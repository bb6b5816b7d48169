"""The result of a comparison: measured values, scores, summaries and tests, each a pandas frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

from nnunetv2_masam.evaluation.detection import detection, detection_differences
from nnunetv2_masam.evaluation.differences import differences
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.margins import margin_claims
from nnunetv2_masam.evaluation.model_cost import model_costs, pretraining_notes
from nnunetv2_masam.evaluation.nnunet_results import Model
from nnunetv2_masam.evaluation.prompted import Prompt, prompt_notes
from nnunetv2_masam.evaluation.ranking import ranking
from nnunetv2_masam.evaluation.scores import metrics_in, over_runs, run_spread, scores, summary
from nnunetv2_masam.evaluation.units import MILLIMETRES, PIXELS, Units


@dataclass(frozen=True)
class Setup:
    """Setup of a comparison: what was compared, where the files are, and how they are read.

    Attributes:
        title: what was compared.
        models: by name, the baseline first.
        cases: a row per model, run and case, with its files (`nnunet_results.Cases.table`).
        structures: labels or regions by model, the same names in the same order.
        reader: nnU-Net's reader of the files.
        settings: tolerances, seed, library versions and the like, for the record.
    """

    title: str
    models: Mapping[str, Model]
    cases: pd.DataFrame
    structures: Mapping[str, tuple[Structure, ...]]
    reader: type[BaseReaderWriter]
    settings: Mapping[str, Any]

    @property
    def baseline(self) -> str:
        """The model that the others are compared with."""
        return next(iter(self.models))

    @property
    def prompts(self) -> dict[str, Prompt | None]:
        """Prompt of each model."""
        return {name: model.prompt for name, model in self.models.items()}

    @property
    def units(self) -> Units:
        """Pixels for PNG and similar images, which know no physical size; else millimetres and millilitres."""
        return PIXELS if issubclass(self.reader, NaturalImage2DIO) else MILLIMETRES


@dataclass(frozen=True)
class Comparison:
    """Everything that the tables and the report show.

    Attributes:
        setup: what was compared, and with which files.
        values: as measured (`scores.KEYS`, metrics, volumes).
        scores: by the rule for empty masks (`scores.scores`).
        summary: by model, label and metric (`scores.summary`).
        by_fold: the same by fold too; empty without folds.
        differences: from the baseline, of the models that are comparable with it (`differences.differences`).
        margins: what `differences` say about margins (`margins.margin_claims`); empty without margins.
        run_spread: spread between trainings (`scores.run_spread`); empty where each model was trained once.
        detection: whether structures are found (`detection.detection`), by the first training of each model.
        detection_differences: the models of `differences` against the baseline.
        ranking: of the models without a prompt (`ranking.ranking`).
        group_summary: `summary` within groups of cases; empty without groups.
        group_differences: `differences` within groups of cases.
        calibration: by model, case, label and bin of probabilities (`calibration.read_calibration`); empty if it was
            not asked for.
        costs: by model (`model_cost.model_costs`).
        notes: what a reader must know.
    """

    setup: Setup
    values: pd.DataFrame
    scores: pd.DataFrame
    summary: pd.DataFrame
    by_fold: pd.DataFrame
    differences: pd.DataFrame
    margins: pd.DataFrame
    run_spread: pd.DataFrame
    detection: pd.DataFrame
    detection_differences: pd.DataFrame
    ranking: pd.DataFrame
    group_summary: pd.DataFrame
    group_differences: pd.DataFrame
    calibration: pd.DataFrame
    costs: pd.DataFrame
    notes: list[str]

    @property
    def baseline(self) -> str:
        """The model that the others are compared with."""
        return self.setup.baseline

    @property
    def models(self) -> list[str]:
        """Their names, the baseline first."""
        return list(self.setup.models)

    @property
    def cases(self) -> list[str]:
        """Their names, in order."""
        return list(self.values["case"].unique())

    @property
    def labels(self) -> list[str]:
        """The labels or regions, then the average over them where there are several."""
        return list(self.scores["label"].unique())

    @property
    def metrics(self) -> list[str]:
        """All metrics, the standard ones first."""
        return metrics_in(self.values)

    def by_case(self, label: str, metric: str) -> pd.DataFrame:
        """Scores with a row per case and a column per model, the baseline first."""
        rows = over_runs(self.scores[self.scores["label"] == label])
        return rows.pivot(index="case", columns="model", values=metric)[self.models]


def analyse(
    values: pd.DataFrame,
    setup: Setup,
    recorded: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    across_prompts: bool = False,
    calibration: pd.DataFrame | None = None,
) -> Comparison:
    """Turn measured values into a comparison.

    Args:
        values: of all models, runs, cases and labels.
        setup: what was compared.
        recorded: what nnU-Net's ``summary.json`` files say (`nnunet_results.Cases.recorded`).
        notes: what a reader must know, before what the values and prompts say.
        across_prompts: also test differences between models with and without box prompts.
        calibration: what `calibration.read_calibration` found.
    """
    prompts, baseline, seed = setup.prompts, setup.baseline, setup.settings.get("seed", 0)
    prompted = {name for name, prompt in prompts.items() if prompt is not None}
    tested = [name for name in prompts if across_prompts or (name in prompted) == (baseline in prompted)]
    scored = scores(values)
    compared, automatic = scored[scored["model"].isin(tested)], scored[~scored["model"].isin(prompted)]
    if setup.settings.get("rank_unseen"):
        automatic = automatic[~automatic["model"].isin(setup.settings["seen"])]
    first = values[values["run"] == 0]  # trainings of a model are no further cases
    differing = differences(compared, baseline, seed=seed)
    return Comparison(
        setup,
        values,
        scored,
        summary=summary(scored),
        by_fold=summary(scored[scored["fold"] >= 0], by=("model", "label", "fold")),
        differences=differing,
        margins=margin_claims(differing, setup.settings.get("margins", {})),
        run_spread=run_spread(scored) if scored["run"].any() else pd.DataFrame(),
        detection=detection(first),
        detection_differences=detection_differences(first[first["model"].isin(tested)], baseline),
        ranking=ranking(automatic, seed),
        group_summary=summary(scored[scored["group"] != ""], by=("group", "model", "label")).sort_values(
            "group", kind="stable"
        ),
        group_differences=differences(compared[compared["group"] != ""], baseline, by=["group"], seed=seed),
        calibration=pd.DataFrame() if calibration is None else calibration,
        costs=model_costs(setup.cases),
        notes=[
            *notes,
            *pretraining_notes(setup.cases),
            *_changed_files(values, setup, recorded),
            *prompt_notes(prompts, baseline, tested),
        ],
    )


def _changed_files(values: pd.DataFrame, setup: Setup, recorded: pd.DataFrame | None) -> list[str]:
    """Our Dice must be the one in nnU-Net's ``summary.json``; where it is not, a file changed in between."""
    if recorded is None or recorded.empty:
        return []
    keys = {part.name: part.key for part in setup.structures[setup.baseline]}
    ours = values.assign(key=values["label"].map(keys))
    both = ours.merge(recorded, on=["model", "run", "case", "key"], suffixes=("", "_recorded"))
    both = both.astype({"Dice_recorded": float}).dropna(subset=["Dice", "Dice_recorded"], how="all")
    notes = []
    for model, rows in both[both["Dice"] != both["Dice_recorded"]].groupby("model", sort=False):
        first = rows.to_dict("records")[0]
        notes.append(
            f"{model}: Dice differs from nnU-Net's summary.json, so predictions or references have changed since it "
            f"was written ({len(rows)} values; {first['case']} {first['label']}: {first['Dice']!r}, summary.json "
            f"{first['Dice_recorded']!r})"
        )
    return notes
