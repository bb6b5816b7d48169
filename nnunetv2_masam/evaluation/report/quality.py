"""Tables of the measured values: quality, volumes, folds, groups, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from nnunetv2_masam.evaluation.calibration import calibration_errors
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import METRICS, VOLUMES
from nnunetv2_masam.evaluation.model_cost import COSTS
from nnunetv2_masam.evaluation.report.text_table import NOTHING, Table, numbers, spread
from nnunetv2_masam.evaluation.scores import AVERAGE

MAIN_METRICS = ("Dice", "HD95_mm", "NSD")  # those of the terminal, the plots and the groups
CALIBRATION_TITLE = "Calibration"
EMPTY_RULE = (
    "Where reference and prediction are empty, the score is the best (1, distances 0); where one of them is, "
    "it is the worst (0, distances the image diagonal)."
)


def shown_metrics(comparison: Comparison) -> list[str]:
    """The metrics in the order of the tables: first those of which more is better, then distances and errors."""
    return sorted(comparison.metrics, key=lambda metric: not METRICS[metric].higher_is_better)


def in_order(comparison: Comparison, frame: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Rows sorted by keys, of which labels, models and metrics have the comparison's order."""
    order = {"label": comparison.labels, "model": comparison.models, "metric": shown_metrics(comparison)}
    return frame.sort_values(
        list(keys), key=lambda key: key.map(order[str(key.name)].index) if key.name in order else key
    )


def digits_of(rows: pd.DataFrame) -> list[int]:
    """The decimals of each row's metric."""
    return [METRICS[metric].digits for metric in rows["metric"]]


def build(
    comparison: Comparison,
    title: str,
    rows: pd.DataFrame,
    keys: Sequence[str],
    cells: Mapping[str, Sequence[str]],
    caption: str,
    words: Sequence[str] = (),
) -> Table:
    """A table of sorted rows: the keys, then cells as text; `words` are headings of columns of words."""
    table = pd.DataFrame({key: rows[key] for key in keys} | dict(cells)).reset_index(drop=True)
    if "metric" in keys:
        table["metric"] = table["metric"].map(comparison.setup.units.heading)
    return Table(title, table, len(keys), caption, words=frozenset(words))


def wide(comparison: Comparison, frame: pd.DataFrame, keys: list[str], metrics: list[str]) -> pd.DataFrame:
    """Summaries in words, with the keys as index and a column per metric."""
    words = [spread(*row) for row in zip(frame["mean"], frame["sd"], frame["median"], digits_of(frame), strict=True)]
    table = in_order(comparison, frame.assign(words=words), *keys).pivot_table(
        "words", keys, "metric", "first", sort=False
    )
    return table[metrics].rename(columns=comparison.setup.units.heading)


def quality_table(comparison: Comparison) -> Table:
    """Mean ± standard deviation and median of every metric, by label and model; the best mean in bold.

    Where a model was prompted, a column says with what, and the best is sought among those that were not.
    """
    metrics, prompts = shown_metrics(comparison), comparison.setup.prompts
    cells = wide(comparison, comparison.summary, ["label", "model"], metrics)
    counts = comparison.summary.groupby(["label", "model"])["n"].agg(lambda n: "/".join(map(str, sorted(set(n)))))
    cells.insert(0, "cases", counts)
    if prompted := any(prompts.values()):
        texts = {name: "none" if prompt is None else prompt.text for name, prompt in prompts.items()}
        cells.insert(0, "prompt", cells.index.get_level_values("model").map(texts))
    cells = cells.reset_index()
    ranked = [model for model in comparison.models if prompts[model] is None] or comparison.models
    means = comparison.summary[comparison.summary["model"].isin(ranked)]
    best: set[tuple[int, str]] = set()
    for (label, metric), rows in means.dropna(subset="mean").groupby(["label", "metric"]):
        winner = rows["mean"].max() if METRICS[metric].higher_is_better else rows["mean"].min()
        winners = rows.loc[rows["mean"] == winner, "model"] if len(ranked) > 1 else []
        places = cells.index[(cells["label"] == label) & cells["model"].isin(winners)]
        best |= {(int(place), comparison.setup.units.heading(metric)) for place in places}
    caption = "Mean ± standard deviation (median) over the same cases in all models; the best mean in bold"
    caption += ", among models without a prompt." if prompted and len(ranked) < len(prompts) else "."
    if not (comparison.values["in_reference"] & comparison.values["in_prediction"]).all():
        caption += f" {EMPTY_RULE}"
    for metric, text in comparison.setup.settings.get("definitions", {}).items():
        heading = comparison.setup.units.heading(metric)
        caption += f" {heading[0].upper()}{heading[1:]}: {text}."
    return Table("Quality", cells, 2, caption, frozenset(best), frozenset({"prompt"}))


def volume_table(comparison: Comparison) -> Table:
    """Volumes (or areas) of reference and prediction, and their difference."""
    units, digits = comparison.setup.units, comparison.setup.units.size_digits
    sizes = comparison.values.assign(**{name: comparison.values[name] * units.size_per_ml for name in VOLUMES})
    sizes["absolute"] = sizes["volume_difference_ml"].abs()
    grouped = in_order(comparison, sizes, "label", "model").groupby(["label", "model"], sort=False)
    means = grouped[[*VOLUMES, "absolute"]].mean()
    cells = {
        f"{name} ({units.size})": numbers(means[column], digits, column == "volume_difference_ml")
        for name, column in zip(("reference", "prediction", "difference"), VOLUMES, strict=True)
    }
    cells["its standard deviation"] = numbers(grouped["volume_difference_ml"].std(), digits)
    cells[f"absolute difference ({units.size})"] = numbers(means["absolute"], digits)
    caption = "Means over all cases, empty ones included; difference: prediction minus reference."
    return Table(f"{units.size_name.capitalize()}s", pd.DataFrame(cells, means.index).reset_index(), 2, caption)


def fold_table(comparison: Comparison) -> Table | None:
    """Mean per fold, averaged over labels; None where there are no folds."""
    last = comparison.labels[-1]
    rows = comparison.by_fold[comparison.by_fold["label"] == last]
    if rows.empty:
        return None
    means = numbers(rows["mean"], digits_of(rows))
    rows = in_order(comparison, rows.assign(text=means), "metric", "model", "fold")
    cells = rows.pivot_table("text", ["metric", "model"], "fold", "first", sort=False)
    cells = cells.rename(columns="fold {}".format).reset_index()
    cells["metric"] = cells["metric"].map(comparison.setup.units.heading)
    caption = "Mean over the cases of each fold" + (", averaged over labels." if last == AVERAGE else ".")
    return Table("Folds", cells, 2, caption)


def run_table(comparison: Comparison) -> Table | None:
    """Spread between trainings beside that between cases; None where each model was trained once."""
    found = comparison.run_spread
    if found.empty:
        return None
    rows = in_order(comparison, found[found["label"] == comparison.labels[-1]], "metric", "model")
    headings = {
        "mean": "mean",
        "sd_between_runs": "standard deviation of trainings",
        "lowest": "lowest training",
        "highest": "highest training",
        "sd_between_cases": "standard deviation of cases",
    }
    cells = {"trainings": rows["runs"].astype(str)}
    cells |= {heading: numbers(rows[column], digits_of(rows)) for column, heading in headings.items()}
    caption = (
        f"{comparison.labels[-1].capitalize()}: means over all cases of each training of a model, and their spread."
    )
    return build(comparison, "Trainings", rows, ("metric", "model"), cells, caption)


def calibration_table(comparison: Comparison) -> Table | None:
    """Expected calibration error by label and model; None without probabilities."""
    found = calibration_errors(comparison.calibration)
    if found.empty:
        return None
    rows = in_order(comparison, found, "label", "model")
    cells = {
        "cases": rows["cases"].astype(str),
        "expected calibration error": numbers(rows["expected_error"], 4),
        "lowest": numbers(rows["lowest"], 4),
        "highest": numbers(rows["highest"], 4),
    }
    caption = (
        "Difference between the mean probability of a label and its frequency in bins of the probability, weighted by "
        "voxels, by case; mean, lowest and highest over cases. All voxels of an image count, most of them background."
    )
    return build(comparison, CALIBRATION_TITLE, rows, ("label", "model"), cells, caption)


def group_table(comparison: Comparison) -> Table | None:
    """Quality by group of cases; None without groups."""
    keys = ["group", "label", "model"]
    found = comparison.group_summary[comparison.group_summary["metric"].isin(MAIN_METRICS)]
    if found.empty:
        return None
    cells = wide(comparison, found, keys, list(MAIN_METRICS))
    cells.insert(0, "cases", found[found["metric"] == "Dice"].set_index(keys)["n"].astype(str))
    caption = "Mean ± standard deviation (median) over the cases of a group."
    return Table("Groups", cells.reset_index(), 3, caption)


def cost_table(comparison: Comparison) -> Table | None:
    """Costs by model, the mean over folds; None where nothing is recorded."""
    cells = pd.DataFrame({"model": comparison.models})
    for key, (heading, factor, digits) in COSTS.items():
        cells[heading] = numbers(comparison.costs[key].loc[comparison.models] * factor, digits)
    if (cells.iloc[:, 1:] == NOTHING).all(axis=None):
        return None
    caption = (
        "From checkpoints and nnU-Net's logs, mean over folds; - is not recorded. Inference: median time "
        "between cases in nnU-Net's validation, reading and export included."
    )
    return Table("Cost", cells, 1, caption)
