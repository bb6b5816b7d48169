"""Tables of the tests: differences, margins, detection, rankings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.ranking import RANKING_RESAMPLES
from nnunetv2_masam.evaluation.report.quality import MAIN_METRICS, build, digits_of, in_order
from nnunetv2_masam.evaluation.report.text_table import NOTHING, Table, interval, number, numbers, p_value
from nnunetv2_masam.files import shortened


def difference_table(comparison: Comparison, metrics: Sequence[str] | None = None) -> Table | None:
    """Paired differences from the baseline; None for a model alone."""
    found = comparison.differences
    if found.empty:
        return None
    found = found[found["metric"].isin(metrics or comparison.metrics)]
    rows, cells = _differences(comparison, found, "model", "metric", "label")
    caption = (
        f"Mean of the paired differences from {comparison.baseline} with its 95 % interval (at each end the "
        "wider of t and BCa bootstrap; none below 6 cases), "
        "permutation test of that mean and Wilcoxon's signed-rank test, both with Holm's correction over labels (the "
        "average stands alone), rank-biserial correlation as effect (1: better in every case, -1: worse in every "
        "case), and the probability that the order of the two means is false (flat prior). Mixed: the two tests do not "
        "say the same. "
    )
    levels = {
        "p over runs": "the t-test over trainings and cases",
        "p over folds": "the corrected resampled t-test over folds",
    }
    there = [column for column in levels if any(cell != NOTHING for cell in cells[column])]
    cells = {column: values for column, values in cells.items() if column not in levels or column in there}
    caption += "A verdict holds for these trained models" + (
        f"; it holds for the methods where {levels[there[0]]} agrees."
        if there
        else ", not for training with the methods again."
    )
    if len(warned := found[found["warning"] != ""]):
        names = zip(warned["model"], warned["metric"].map(comparison.setup.units.heading), warned["label"], strict=True)
        listed = shortened(map(" ".join, names))
        caption += f" The interval has no width, because all cases differ by the same: {listed}."
    keys = ("model", "metric", "label")
    return build(comparison, "Difference from the baseline", rows, keys, cells, caption, ("verdict", "holds for"))


def _differences(
    comparison: Comparison, found: pd.DataFrame, *keys: str
) -> tuple[pd.DataFrame, dict[str, Sequence[str]]]:
    """The rows of differences sorted by the keys, and as text."""
    rows = in_order(comparison, found, *keys)
    return rows, {
        "cases": rows["n"].astype(str),
        "difference": numbers(rows["mean"], digits_of(rows), sign=True),
        "95 % CI": _intervals(rows, "ci_low", "ci_high"),
        "p (Holm)": rows["p_holm"].map(p_value),
        "verdict": rows["verdict"],
        "holds for": rows["scope"].str.replace("trained ", "").replace("", NOTHING),
        "p over folds": rows["fold_p_holm"].map(p_value),
        "p over runs": rows["run_p_holm"].map(p_value),
        "Wilcoxon p (Holm)": rows["wilcoxon_p_holm"].map(p_value),
        "effect": numbers(rows["effect"], 2),
        "order false": rows["false_order"].map(p_value),
    }


def _intervals(rows: pd.DataFrame, low: str, high: str) -> list[str]:
    return [interval(*row) for row in zip(rows[low], rows[high], digits_of(rows), strict=True)]


def fold_difference_table(comparison: Comparison) -> Table | None:
    """The differences with one value per fold, averaged over labels; None where there are no folds."""
    name, found = comparison.labels[-1], comparison.differences
    if found.empty or not (found["folds"] > 1).any():
        return None
    rows = in_order(comparison, found[(found["label"] == name) & (found["folds"] > 1)], "model", "metric")
    cells = {
        "folds": numbers(rows["folds"], 0),
        "difference": numbers(rows["fold_mean"], digits_of(rows), sign=True),
        "95 % CI": _intervals(rows, "fold_ci_low", "fold_ci_high"),
        "p": rows["fold_p"].map(p_value),
        "verdict": rows["fold_verdict"],
    }
    caption = (
        f"{name.capitalize()}: mean over folds of the mean difference from {comparison.baseline}, with interval and "
        "p-value of the corrected resampled t-test (Nadeau and Bengio), which counts training anew as a source of "
        "variation."
    )
    return build(comparison, "Difference over folds", rows, ("model", "metric"), cells, caption, ("verdict",))


def margin_claim_table(comparison: Comparison) -> Table | None:
    """Equivalence, non-inferiority and cases needed; None without margins."""
    if comparison.margins.empty:
        return None
    rows = in_order(comparison, comparison.margins, "model", "metric", "label")
    cells = {
        "margin": rows["margin"].map("{:g}".format),
        "claim": rows["claim"],
        "cases": rows["n"].astype(str),
        "cases needed": numbers(rows["cases_needed"], 0),
    }
    caption = (
        f"Read off the 95 % interval of the mean difference from {comparison.baseline}: equivalent where all of it is "
        "within the margin, not worse where its worse end is. Cases needed: in which a paired t-test shows a "
        "difference of the margin with a power of 80 %, given the spread at hand. Not corrected over labels."
    )
    return build(comparison, "Margins", rows, ("model", "metric", "label"), cells, caption, ("claim",))


def group_difference_table(comparison: Comparison) -> Table | None:
    """Differences within each group of cases; None without groups."""
    found = comparison.group_differences
    if found.empty:
        return None
    keys = ("group", "model", "metric", "label")
    rows, cells = _differences(comparison, found[found["metric"].isin(MAIN_METRICS)], *keys)
    cells = {column: cells[column] for column in ("cases", "difference", "95 % CI", "p (Holm)", "verdict")}
    caption = (
        f"Paired differences from {comparison.baseline} within each group, tested as those of all cases. Holm's "
        "correction is over the labels of a group, not over groups."
    )
    return build(comparison, "Difference by group", rows, keys, cells, caption, ("verdict",))


def detection_table(comparison: Comparison) -> Table | None:
    """Whether structures are found at all; None where no mask is empty."""
    found = comparison.detection
    shown = ((found["found"] < found["present"]) | (found["absent"] > 0)).groupby(found["label"]).transform("any")
    rows = in_order(comparison, found[shown], "label", "model")
    if rows.empty:
        return None
    counts = rows[["found", "present", "false_alarms", "absent"]].astype(str)
    cells = {
        "found / present": counts["found"] + " / " + counts["present"],
        "sensitivity": _rates(rows, "sensitivity"),
        "false alarms / absent": counts["false_alarms"] + " / " + counts["absent"],
        "specificity": _rates(rows, "specificity"),
    }
    caption = (
        "Cases whose reference holds the structure and in how many of them the prediction holds it, too, anywhere; "
        "cases without it and in how many of them it was predicted; with 95 % Wilson intervals. Labels that every "
        "case holds and every model finds are left out."
    )
    return build(comparison, "Detection", rows, ("label", "model"), cells, caption)


def _rates(rows: pd.DataFrame, rate: str) -> list[str]:
    parts = rows[[rate, f"{rate}_low", f"{rate}_high"]].to_numpy()
    texts = ([number(value, 3) for value in part] for part in parts)
    return [NOTHING if text == NOTHING else f"{text} ({low} to {high})" for text, low, high in texts]


def detection_difference_table(comparison: Comparison) -> Table | None:
    """McNemar's test of sensitivity and specificity, for labels in which the models are not right in the same cases."""
    found = comparison.detection_differences
    found = found[found["only_model"] + found["only_baseline"] > 0]
    if found.empty:
        return None
    rows = in_order(comparison, found, "model", "rate", "label")
    cells = {
        "only it is right": rows["only_model"].astype(str),
        "only baseline is right": rows["only_baseline"].astype(str),
        "p (Holm)": rows["p_holm"].map(p_value),
        "verdict": rows["verdict"],
    }
    caption = (
        f"Against {comparison.baseline}: cases in which one of the two alone is right about the structure's presence, "
        "with McNemar's exact test, corrected over labels by Holm's method. Labels without such a case are left out."
    )
    return build(comparison, "Difference in detection", rows, ("model", "rate", "label"), cells, caption, ("verdict",))


def ranking_table(comparison: Comparison) -> Table | None:
    """Ranks of the models by every metric, averaged over labels, and how stable they are; None for two models."""
    if comparison.ranking.empty:
        return None
    name, heading = comparison.labels[-1], comparison.setup.units.heading
    found = comparison.ranking[comparison.ranking["label"] == name].reset_index(drop=True)
    rows = in_order(comparison, found.assign(place=found.index), "metric", "place")
    ranges = zip(rows["rank_low"], rows["rank_high"], strict=True)
    cells = {
        "rank": rows["rank"].astype(str),
        "95 % of samples": [f"{low:g} to {high:g}" for low, high in ranges],
        "first in": [f"{share:.0%}".replace("%", " %") for share in rows["first"]],
        "mean": numbers(rows["mean"], digits_of(rows)),
        "mean rank": numbers(rows["mean_rank"], 2),
        "by mean rank": rows["rank_by_mean_rank"].astype(str),
        "models beaten": rows["beats"].astype(str),
    }
    taus = found.drop_duplicates("metric")[["metric", "kendall_tau"]].itertuples(index=False)
    caption = (
        f"{name.capitalize()}: rank of the mean; the range of that rank and how often it is the first over "
        f"{RANKING_RESAMPLES} bootstrap samples of the cases; rank of the mean rank by case; "
        "models that it is better than in a permutation test, corrected over all pairs. Mean Kendall's tau between "
        "the ranking and those of the samples (1: always the same): "
        f"{', '.join(f'{heading(metric)} {number(tau, 2)}' for metric, tau in taus)}."
    )
    return build(comparison, "Ranking", rows, ("metric", "model"), cells, caption)
