"""``cases.csv`` and ``summary.json``: the frames of a comparison for other programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from nnunetv2_masam.evaluation.calibration import calibration_errors
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.differences import FOLD_LEVEL, RUN_LEVEL
from nnunetv2_masam.evaluation.lineup import NO_FOLD
from nnunetv2_masam.evaluation.metrics import LESION_COUNTS, VOLUMES
from nnunetv2_masam.evaluation.ranking import RANKING_RESAMPLES
from nnunetv2_masam.evaluation.scores import foreground_mean, summary
from nnunetv2_masam.files import write_json

BY_LABEL = ("model", "label", "metric")


def case_values(comparison: Comparison) -> pd.DataFrame:
    """One row per model, case and label; undefined values are NaN."""
    values, units = comparison.values, comparison.setup.units
    numbers = [*comparison.metrics, *(name for name in LESION_COUNTS if name in values), *VOLUMES[:2]]
    keys = ["model", *(["run"] if values["run"].any() else []), "case", "fold", "group", "label"]
    made = values[[*keys, *numbers]].copy()
    made["fold"] = made["fold"].astype(object).where(made["fold"] != NO_FOLD, "")
    made[list(VOLUMES[:2])] *= units.size_per_ml
    return made.rename(columns=units.column).assign(empty=_empty(values))


def _empty(values: pd.DataFrame) -> list[str]:
    """Which of the masks are empty: ``reference``, ``prediction``, ``both``, or nothing."""
    words = {(True, True): "", (False, True): "reference", (True, False): "prediction", (False, False): "both"}
    return [
        words[bool(there), bool(here)]
        for there, here in zip(values["in_reference"], values["in_prediction"], strict=True)
    ]


def write_summary_json(comparison: Comparison, path: Path) -> None:
    """Everything: settings, notes, values per case, summaries, differences, costs; NaN becomes null."""
    setup, values = comparison.setup, comparison.values.assign(empty=_empty(comparison.values))
    measured = values.drop(columns=["fold", "group", "in_reference", "in_prediction"])
    measured = measured if measured["run"].any() else measured.drop(columns="run")
    counts = pd.crosstab([values["model"], values["label"]], values["empty"])
    counts = counts.reindex(columns=["reference", "prediction", "both"], fill_value=0).reset_index()
    groups = dict(zip(values["case"], values["group"], strict=True)) if (values["group"] != "").any() else {}
    content = {
        "title": setup.title,
        "settings": setup.settings,
        "notes": comparison.notes,
        "baseline": comparison.baseline,
        "models": {name: model.folder for name, model in setup.models.items()},
        "prompts": {name: None if prompt is None else asdict(prompt) for name, prompt in setup.prompts.items()},
        "labels": [asdict(part) for part in setup.structures[comparison.baseline]],
        "cases": comparison.cases,
        "groups": groups,
        "summaries": _summaries(comparison.summary, comparison.scores),
        "foreground_mean": foreground_mean(values).to_dict("index"),
        "differences": nested(_with_folds(comparison.differences), BY_LABEL),
        "margins": nested(comparison.margins, BY_LABEL),
        "runs": nested(comparison.run_spread, BY_LABEL),
        "detection": nested(comparison.detection, ("model", "label")),
        "detection_differences": nested(comparison.detection_differences, ("model", "label", "rate")),
        "rankings": _rankings(comparison.ranking),
        "by_group": _by_group(comparison, groups),
        "empty": nested(counts, ("model", "label")),
        "calibration": nested(calibration_errors(comparison.calibration), ("model", "label")),
        "costs": comparison.costs.to_dict("index"),
        "values": measured.sort_values(["model", "case", "label"]).to_dict("records"),
    }
    write_json(path, without_nan(content))


def nested(frame: pd.DataFrame, keys: Sequence[str]) -> dict[str, Any]:
    """A frame as dictionaries: one level per key, the other columns inside."""
    if frame.empty:
        return {}
    found: dict[str, Any] = {}
    for row in frame.to_dict("records"):
        level = found
        for key in keys[:-1]:
            level = level.setdefault(row[key], {})
        level[row[keys[-1]]] = {name: value for name, value in row.items() if name not in keys}
    return found


def _summaries(found: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Any]:
    """Summaries of the scores, with the mean of each fold."""
    by_fold = summary(scores[scores["fold"] >= 0], by=(*BY_LABEL[:2], "fold"))
    folds = {key: dict(zip(of["fold"], of["mean"], strict=True)) for key, of in by_fold.groupby([*BY_LABEL])}
    keys = found[[*BY_LABEL]].itertuples(index=False, name=None)
    return nested(found.assign(fold_means=[folds.get(key, {}) for key in keys]), BY_LABEL)


def _with_folds(differences: pd.DataFrame) -> pd.DataFrame:
    """The columns of the tests over folds and runs as one dictionary each, or None without folds or runs."""
    made = differences
    for level, columns in (("fold", FOLD_LEVEL), ("run", RUN_LEVEL)):
        names = [name.removeprefix(f"{level}_") for name in columns]
        rows = made[list(columns)].itertuples(index=False)
        found = [None if math.isnan(row[0]) else dict(zip(names, (int(row[0]), *row[1:]), strict=True)) for row in rows]
        made = made.drop(columns=list(columns)).assign(**{f"{level}_level": found})
    return made


def _rankings(ranking: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if ranking.empty:
        return found
    for (label, metric), rows in ranking.groupby(["label", "metric"], sort=False):
        models = rows.drop(columns=["label", "metric", "cases", "kendall_tau"]).to_dict("records")
        about = {"cases": rows["cases"].iloc[0], "models": models, "kendall_tau": rows["kendall_tau"].iloc[0]}
        found.setdefault(label, {})[metric] = about | {"resamples": RANKING_RESAMPLES}
    return found


def _by_group(comparison: Comparison, groups: dict[str, str]) -> dict[str, Any]:
    found = {}
    scores, differences = comparison.scores, comparison.group_differences
    for group in sorted(set(groups.values())):
        of_group = comparison.group_summary[comparison.group_summary["group"] == group]
        of = differences[differences["group"] == group].drop(columns="group")
        found[group] = {
            "cases": [case for case, name in groups.items() if name == group],
            "summaries": _summaries(of_group.drop(columns="group"), scores[scores["group"] == group]),
            "differences": nested(_with_folds(of), BY_LABEL),
        }
    return found


def without_nan(content: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have, and without NumPy's types."""
    if isinstance(content, dict):
        return {str(key): without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_nan(value) for value in content]
    content = content.item() if hasattr(content, "item") else content
    return None if isinstance(content, float) and not math.isfinite(content) else content
