"""Tables of what was measured: quality, volumes, folds, groups, cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER, METRIC_INFO
from nnunetv2_masam.evaluation.report.shown import MAIN_METRICS, shown_metrics, units_of
from nnunetv2_masam.evaluation.report.text_table import NOTHING, Table, number, spread
from nnunetv2_masam.evaluation.scores import AVERAGE

MARGIN_TITLE = "Dice against box margin"
EMPTY_RULE = (
    "Where reference and prediction are empty, the score is the best (1, distances 0); where one of them is, "
    "it is the worst (0, distances the image diagonal)."
)


def quality_table(comparison: Comparison) -> Table:
    """Mean ± standard deviation and median of every metric, by structure and model; the best mean in bold.

    Where a model was prompted, a column says with what, and the best is sought among those that were not.
    """
    units, prompts, metrics = units_of(comparison), comparison.prompts, shown_metrics(comparison)
    prompted = any(prompts.values())
    ranked = [model for model in comparison.model_names if prompts[model] is None] or comparison.model_names
    rows: list[dict[str, str]] = []
    best: set[tuple[int, str]] = set()
    for name in comparison.structure_names:
        found = {model: comparison.summaries[model][name] for model in comparison.model_names}
        for metric in metrics:
            winners = _best({model: found[model][metric].mean for model in ranked}, HIGHER_IS_BETTER[metric])
            places = [len(rows) + comparison.model_names.index(model) for model in winners]
            best |= {(place, units.heading(metric)) for place in places}
        for model, summaries in found.items():
            counted = sorted({summary.n for summary in summaries.values()})
            row = {"label": name, "model": model}
            if prompted:
                row["prompt"] = "none" if (prompt := prompts[model]) is None else prompt.text
            row["cases"] = "/".join(map(str, counted))
            for metric in metrics:
                s = summaries[metric]
                row[units.heading(metric)] = spread(s.mean, s.sd, s.median, METRIC_INFO[metric].digits)
            rows.append(row)
    caption = "Mean ± standard deviation (median) over the same cases in all models; the best mean in bold"
    caption += ", among models without a prompt." if prompted and len(ranked) < len(prompts) else "."
    if any(
        comparison.scores.empty(model, part.name).count("") < len(comparison.lineup.cases)
        for model in comparison.model_names
        for part in comparison.structures
    ):
        caption += f" {EMPTY_RULE}"
    for metric, text in comparison.settings.get("definitions", {}).items():
        heading = units.heading(metric)
        caption += f" {heading[0].upper()}{heading[1:]}: {text}."
    return Table("Quality", pd.DataFrame(rows), 2, caption, frozenset(best), frozenset({"prompt"}))


def volume_table(comparison: Comparison) -> Table:
    """Volumes (or areas) of reference and prediction, and their difference."""
    units = units_of(comparison)
    rows = []
    for part in comparison.structures:
        for model in comparison.model_names:
            columns = ("volume_reference_ml", "volume_prediction_ml", "volume_difference_ml")
            values = np.array([comparison.values(model, part.name, column) for column in columns])
            reference, prediction, difference = values * units.size_per_ml
            digits = units.size_digits
            rows.append(
                {
                    "label": part.name,
                    "model": model,
                    f"reference ({units.size})": number(_mean(reference), digits),
                    f"prediction ({units.size})": number(_mean(prediction), digits),
                    f"difference ({units.size})": number(_mean(difference), digits, sign=True),
                    "its standard deviation": number(_sd(difference), digits),
                    f"absolute difference ({units.size})": number(_mean(np.abs(difference)), digits),
                }
            )
    caption = "Means over all cases, empty ones included; difference: prediction minus reference."
    return Table(f"{units.size_name.capitalize()}s", pd.DataFrame(rows), 2, caption)


def fold_table(comparison: Comparison) -> Table | None:
    """Mean per fold, averaged over structures; None where there are no folds."""
    last, units = comparison.structure_names[-1], units_of(comparison)
    folds = sorted(comparison.summaries[comparison.baseline][last]["Dice"].fold_means)
    if not folds:
        return None
    rows = []
    for metric in shown_metrics(comparison):
        for model in comparison.model_names:
            means = comparison.summaries[model][last][metric].fold_means
            row = {f"fold {fold}": number(means.get(fold), METRIC_INFO[metric].digits) for fold in folds}
            rows.append({"metric": units.heading(metric), "model": model, **row})
    caption = "Mean over the cases of each fold" + (", averaged over labels." if last == AVERAGE else ".")
    return Table("Folds", pd.DataFrame(rows), 2, caption)


def group_table(comparison: Comparison) -> Table | None:
    """Quality by group of cases; None without groups."""
    units = units_of(comparison)
    rows = []
    for group, found in comparison.groups.items():
        for name in comparison.structure_names:
            for model in comparison.model_names:
                summaries = found.summaries[model][name]
                row = {"group": group, "label": name, "model": model, "cases": str(summaries["Dice"].n)}
                for metric in MAIN_METRICS:
                    s = summaries[metric]
                    row[units.heading(metric)] = spread(s.mean, s.sd, s.median, METRIC_INFO[metric].digits)
                rows.append(row)
    caption = "Mean ± standard deviation (median) over the cases of a group."
    return Table("Groups", pd.DataFrame(rows), 3, caption) if rows else None


def margin_table(comparison: Comparison) -> Table | None:
    """Mean Dice against the margin of oracle boxes; None with fewer than two margins."""
    models = margins(comparison)
    if len({margin for margin, _ in models}) < 2:
        return None
    rows = [
        {"margin (mm)": f"{margin:g}", "model": model}
        | {name: number(comparison.summaries[model][name]["Dice"].mean, 4) for name in comparison.structure_names}
        for margin, model in models
    ]
    caption = "Mean Dice with boxes around the reference that are wider by the margin on every side."
    return Table(MARGIN_TITLE, pd.DataFrame(rows), 2, caption)


def margins(comparison: Comparison) -> list[tuple[float, str]]:
    """Margin in mm and model, for models with oracle boxes of a known margin, tightest first."""
    known = [(prompt.margin_mm, model) for model, prompt in comparison.prompts.items() if prompt is not None]
    return sorted((margin, model) for margin, model in known if margin is not None)


COSTS: Mapping[str, tuple[str, float, int]] = {
    "parameters": ("parameters (million)", 1e-6, 2),
    "trained_parameters": ("trained (million)", 1e-6, 2),
    "training_hours_per_fold": ("training per fold (h)", 1, 2),
    "seconds_per_epoch": ("epoch (s)", 1, 1),
    "epochs": ("epochs", 1, 0),
    "inference_seconds_per_case": ("inference per case (s)", 1, 1),
    "peak_memory_gib": ("peak memory (GiB)", 1, 2),
    "checkpoint_mib": ("checkpoint (MiB)", 1, 1),
}


def cost_table(comparison: Comparison) -> Table | None:
    """Costs by model, the mean over folds; None where nothing is recorded."""
    rows = []
    for model in comparison.model_names:
        cost: dict[str, Any] = asdict(comparison.costs[model]) if model in comparison.costs else {}
        row = {"model": model}
        for key, (heading, factor, digits) in COSTS.items():
            value = cost.get(key)
            row[heading] = number(None if value is None else value * factor, digits)
        rows.append(row)
    cells = pd.DataFrame(rows)
    if (cells.iloc[:, 1:] == NOTHING).all(axis=None):
        return None
    caption = (
        "From checkpoints and nnU-Net's logs, mean over folds; - is not recorded. Inference: median time "
        "between cases in nnU-Net's validation, reading and export included."
    )
    return Table("Cost", cells, 1, caption)


def _best(means: Mapping[str, float], higher_is_better: bool) -> list[str]:
    """The models with the best mean; none where there is nothing to choose from."""
    defined = pd.Series(dict(means), dtype=float).dropna()
    if len(means) < 2 or defined.empty:
        return []
    return list(defined.index[defined == (defined.max() if higher_is_better else defined.min())])


def _mean(values: np.ndarray) -> float:
    return float(pd.Series(values).mean())  # without undefined values; NaN without any


def _sd(values: np.ndarray) -> float:
    return float(pd.Series(values).std())
