"""Tables of what may be claimed: differences, detection, rankings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nnunetv2_masam.evaluation.comparison import Comparison, Differences
from nnunetv2_masam.evaluation.metrics import METRIC_INFO
from nnunetv2_masam.evaluation.report.shown import MAIN_METRICS, shown_metrics, units_of
from nnunetv2_masam.evaluation.report.text_table import NOTHING, Table, interval, number, p_value
from nnunetv2_masam.files import shortened


def difference_table(comparison: Comparison, metrics: Sequence[str] | None = None) -> Table:
    """Paired differences from the baseline."""
    chosen = metrics or shown_metrics(comparison)
    rows = _difference_rows(comparison, comparison.differences, chosen)
    with_folds = any(row["p over folds"] != NOTHING for row in rows)
    cells = pd.DataFrame(rows)
    caption = (
        f"Mean of the paired differences from {comparison.baseline} with its 95 % interval (at each end the "
        "wider of t and BCa bootstrap; none below 6 cases), "
        "permutation test of that mean and Wilcoxon's signed-rank test, both with Holm's correction over labels (the "
        "average stands alone), rank-biserial correlation as effect (1: better in every case, -1: worse in every "
        "case). Mixed: the two tests do not say the same. "
    )
    if with_folds:
        caption += (
            "A verdict holds for these trained models; it holds for the methods where the corrected resampled t-test "
            "over folds agrees."
        )
    else:
        cells = cells.drop(columns="p over folds")
        caption += "A verdict holds for these trained models, not for training with the methods again."
    warned = [
        f"{model} {units_of(comparison).heading(metric)} {name}"
        for model, found in comparison.differences.items()
        for name, by_metric in found.items()
        for metric in chosen
        if by_metric[metric].warning
    ]
    if warned:
        caption += f" The interval has no width, because all cases differ by the same: {shortened(warned)}."
    return Table("Difference from the baseline", cells, 3, caption, words=frozenset({"verdict", "holds for"}))


def _difference_rows(comparison: Comparison, differences: Differences, metrics: Sequence[str]) -> list[dict[str, str]]:
    units = units_of(comparison)
    rows = []
    for model, found in differences.items():
        for metric in metrics:
            for name in comparison.structure_names:
                pair, digits = found[name][metric], METRIC_INFO[metric].digits
                rows.append(
                    {
                        "model": model,
                        "metric": units.heading(metric),
                        "label": name,
                        "cases": str(pair.n),
                        "difference": number(pair.mean, digits, sign=True),
                        "95 % CI": interval(pair.ci_low, pair.ci_high, digits),
                        "p (Holm)": p_value(pair.p_holm),
                        "verdict": pair.verdict,
                        "holds for": pair.scope.replace("trained ", "") or NOTHING,
                        "p over folds": p_value(pair.fold_level.p_holm if pair.fold_level else None),
                        "Wilcoxon p (Holm)": p_value(pair.wilcoxon_p_holm),
                        "effect": number(pair.effect, 2),
                    }
                )
    return rows


def fold_difference_table(comparison: Comparison) -> Table | None:
    """The differences with one value per fold, averaged over labels; None where there are no folds."""
    name, units = comparison.structure_names[-1], units_of(comparison)
    rows = []
    for model, found in comparison.differences.items():
        for metric in shown_metrics(comparison):
            fold_level, digits = found[name][metric].fold_level, METRIC_INFO[metric].digits
            if fold_level is None or fold_level.folds < 2:
                continue
            rows.append(
                {
                    "model": model,
                    "metric": units.heading(metric),
                    "folds": str(fold_level.folds),
                    "difference": number(fold_level.mean, digits, sign=True),
                    "95 % CI": interval(fold_level.ci_low, fold_level.ci_high, digits),
                    "p": p_value(fold_level.p),
                    "verdict": fold_level.verdict,
                }
            )
    if not rows:
        return None
    caption = (
        f"{name.capitalize()}: mean over folds of the mean difference from {comparison.baseline}, with interval and "
        "p-value of the corrected resampled t-test (Nadeau and Bengio), which counts training anew as a source of "
        "variation."
    )
    return Table("Difference over folds", pd.DataFrame(rows), 2, caption, words=frozenset({"verdict"}))


def group_difference_table(comparison: Comparison) -> Table | None:
    """Differences within each group of cases; None without groups."""
    rows = [
        {"group": group, **row}
        for group, found in comparison.groups.items()
        for row in _difference_rows(comparison, found.differences, MAIN_METRICS)
    ]
    if not rows:
        return None
    cells = pd.DataFrame(rows).drop(columns=["p over folds", "Wilcoxon p (Holm)", "effect", "holds for"])
    caption = (
        f"Paired differences from {comparison.baseline} within each group, tested as those of all cases. Holm's "
        "correction is over the labels of a group, not over groups."
    )
    return Table("Difference by group", cells, 4, caption, words=frozenset({"verdict"}))


def detection_table(comparison: Comparison) -> Table | None:
    """Whether structures are found at all; None where no mask is empty."""
    rows = []
    for part in comparison.structures:
        found = {model: comparison.detections[model][part.name] for model in comparison.model_names}
        if all(d.found == d.present and not d.absent for d in found.values()):
            continue
        for model, d in found.items():
            rows.append(
                {
                    "label": part.name,
                    "model": model,
                    "found / present": f"{d.found} / {d.present}",
                    "sensitivity": _rate(d.sensitivity, d.sensitivity_low, d.sensitivity_high),
                    "false alarms / absent": f"{d.false_alarms} / {d.absent}",
                    "specificity": _rate(d.specificity, d.specificity_low, d.specificity_high),
                }
            )
    if not rows:
        return None
    caption = (
        "Cases whose reference holds the structure and in how many of them the prediction holds it, too, anywhere; "
        "cases without it and in how many of them it was predicted; with 95 % Wilson intervals. Labels that every "
        "case holds and every model finds are left out."
    )
    return Table("Detection", pd.DataFrame(rows), 2, caption)


def _rate(value: float, low: float, high: float) -> str:
    return NOTHING if np.isnan(value) else f"{number(value, 3)} ({number(low, 3)} to {number(high, 3)})"


def detection_difference_table(comparison: Comparison) -> Table | None:
    """McNemar's test of sensitivity and specificity, for labels in which the models are not right in the same cases."""
    rows = []
    for model, by_label in comparison.detection_differences.items():
        for kind in ("sensitivity", "specificity"):
            for name, difference in by_label.items():
                pair = getattr(difference, kind)
                if pair.only_model + pair.only_baseline == 0:
                    continue
                rows.append(
                    {
                        "model": model,
                        "rate": kind,
                        "label": name,
                        "only it is right": str(pair.only_model),
                        "only baseline is right": str(pair.only_baseline),
                        "p (Holm)": p_value(pair.p_holm),
                        "verdict": pair.verdict,
                    }
                )
    if not rows:
        return None
    caption = (
        f"Against {comparison.baseline}: cases in which one of the two alone is right about the structure's presence, "
        "with McNemar's exact test, corrected over labels by Holm's method. Labels without such a case are left out."
    )
    return Table("Difference in detection", pd.DataFrame(rows), 3, caption, words=frozenset({"verdict"}))


def ranking_table(comparison: Comparison) -> Table | None:
    """Ranks of the models by every metric, averaged over labels, and how stable they are; None for two models."""
    name, units = comparison.structure_names[-1], units_of(comparison)
    rankings = comparison.rankings.get(name, {})
    rows = []
    for metric in shown_metrics(comparison):
        if metric not in rankings:
            continue
        for place in rankings[metric].models:
            rows.append(
                {
                    "metric": units.heading(metric),
                    "model": place.model,
                    "rank": str(place.rank),
                    "95 % of samples": f"{place.rank_low:g} to {place.rank_high:g}",
                    "first in": f"{place.first:.0%}".replace("%", " %"),
                    "mean": number(place.mean, METRIC_INFO[metric].digits),
                    "mean rank": number(place.mean_rank, 2),
                    "by mean rank": str(place.rank_by_mean_rank),
                    "models beaten": str(place.beats),
                }
            )
    if not rows:
        return None
    taus = ", ".join(f"{units.heading(metric)} {number(found.kendall_tau, 2)}" for metric, found in rankings.items())
    caption = (
        f"{name.capitalize()}: rank of the mean; the range of that rank and how often it is the first over "
        f"{next(iter(rankings.values())).resamples} bootstrap samples of the cases; rank of the mean rank by case; "
        "models that it is better than in a permutation test, corrected over all pairs. Mean Kendall's tau between "
        f"the ranking and those of the samples (1: always the same): {taus}."
    )
    return Table("Ranking", pd.DataFrame(rows), 2, caption)
