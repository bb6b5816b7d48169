"""Plots of a comparison for the page: distributions, differences, pairs of cases, reliability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import cbook
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator

from nnunetv2_masam.evaluation.calibration import calibration_errors, reliability_curve
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.report.svg import COLOURS, GRID, INK, SOFT, Picture, as_svg, drawing, new_axes
from nnunetv2_masam.evaluation.report.text_table import interval, number, with_minus
from nnunetv2_masam.files import shortened

PANEL_IN, PAIR_IN = 3.7, 4.25  # three and two beside each other on a wide page
MOST_NUMBERS = 6  # numbers in an alternative text
# rows that reach so many times farther from 0 than the median row are cut at the edge of the forest plot
MOST_TIMES_THE_MEDIAN = 5.0


def colours(comparison: Comparison) -> dict[str, str]:
    """One colour per model, the same in every picture."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(comparison.models)}


def distribution(comparison: Comparison, metric: str, name: str) -> Picture:
    """A metric of one structure: a box per model, a point per case, and a thin line from model to model."""
    models, heading = comparison.models, comparison.setup.units.heading(metric)
    values = comparison.by_case(name, metric).to_numpy().T
    with drawing():
        figure, axes = new_axes(PANEL_IN, 0.75 + 0.4 * len(models))
        places = np.arange(len(models))
        axes.plot(values, places, color=SOFT, alpha=0.35, linewidth=0.6, zorder=1)
        for place, row, model in zip(places, values, models, strict=True):
            _box(axes, row[~np.isnan(row)], float(place), colours(comparison)[model])
        axes.set_yticks(places, [wrap(model) for model in models])
        axes.set_ylim(len(models) - 0.5, -0.5)
        _stretch(axes, values[~np.isnan(values)], metric)
        axes.grid(axis="x")
        alone = len(comparison.labels) == 1
        axes.set_title(heading if alone else name)
        if not alone:
            axes.set_xlabel(heading)
        return as_svg(figure, _distribution_alt(comparison, metric, name))


def _box(axes: Axes, values: np.ndarray, place: float, colour: str) -> None:
    """Quartiles and median, whiskers to the last value within 1.5 times the interquartile range, and the values."""
    if len(values):
        (found,) = cbook.boxplot_stats(values)
        for start, end in ((found["whislo"], found["q1"]), (found["q3"], found["whishi"])):
            axes.hlines(place, start, end, color=INK, linewidth=0.9)
        width = found["q3"] - found["q1"]
        axes.barh(place, width, left=found["q1"], height=0.5, facecolor=to_rgba(colour, 0.3), edgecolor=colour)
        axes.vlines(found["med"], place - 0.25, place + 0.25, color=INK, linewidth=1.4)
    axes.plot(values, [place] * len(values), ".", color=colour, markersize=3.5, alpha=0.8, zorder=3)


def _stretch(axes: Axes, values: np.ndarray, metric: str) -> None:
    """A logarithmic scale above 1 for distances of which a few are far from the others."""
    axes.xaxis.set_major_locator(MaxNLocator(6))
    if METRICS[metric].higher_is_better or values.max(initial=0) <= 10 * max(np.median([1, *values]), 1):
        return
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, 1.5 * values.max())
    axes.xaxis.set_major_formatter("{x:g}")


def _distribution_alt(comparison: Comparison, metric: str, name: str) -> str:
    digits, found = METRICS[metric].digits, []
    rows = comparison.summary[(comparison.summary["label"] == name) & (comparison.summary["metric"] == metric)]
    for row in rows.to_dict("records"):
        means = f"mean {number(row['mean'], digits)}, {row['n']} cases"
        found.append(f"{row['model']} {number(row['median'], digits)} ({means})")
    return f"{comparison.setup.units.heading(metric)} of {name}, medians: {shortened(found, MOST_NUMBERS)}."


def forest(comparison: Comparison, metric: str) -> Picture:
    """Mean differences from the baseline with 95 % intervals, by label and model; filled where one is shown.

    Rows that are far longer than the others end in an arrow at the edge, so that they do not squeeze them.
    """
    labels, heading = comparison.labels, comparison.setup.units.heading(metric)
    found = comparison.differences[comparison.differences["metric"] == metric]
    models = list(found["model"].unique())
    with drawing():
        figure, axes = new_axes(PANEL_IN, 1.0 + len(labels) * (0.12 + 0.15 * len(models)))
        axes.axvline(0, color=INK, linewidth=0.9, zorder=0)
        axes.set_xlim(*axis_limits(found[["ci_low", "mean", "ci_high"]].to_numpy()))
        for i, model in enumerate(models):
            colour, offset = colours(comparison)[model], (i - (len(models) - 1) / 2) / (len(models) + 1)
            for row in found[found["model"] == model].to_dict("records"):
                _draw_row(axes, row, labels.index(row["label"]) + offset, colour)
            axes.plot([], [], "o-", color=colour, markersize=4.5, label=in_legend(model))
        axes.set_yticks(range(len(labels)), [wrap(label, 22) for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        side = "right" if METRICS[metric].higher_is_better else "left"
        axes.set_title(f"{heading}: {side} of 0 is better")
        axes.set_xlabel(f"difference from {wrap(comparison.baseline, 30)}")
        if len(models) > 1:
            figure.legend(loc="outside lower left", ncols=1 if max(map(len, models)) > 14 else 2)
        return as_svg(figure, _forest_alt(comparison, found[found["label"] == labels[-1]], metric))


def axis_limits(rows: np.ndarray) -> tuple[float, float]:
    """Limits of an axis that shows 0 and all rows (lower end, mean, upper end; or NaN) but those far outside."""
    reaches = np.nanmax(np.abs(rows), axis=1, initial=0)
    median = np.quantile(reaches[reaches > 0], 0.5, method="lower") if reaches.any() else 0.0
    shown = rows[reaches <= MOST_TIMES_THE_MEDIAN * median]
    low, high = (float(end(shown, initial=0)) for end in (np.nanmin, np.nanmax))
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_row(axes: Axes, row: dict[str, Any], place: float, colour: str) -> None:
    """One mean with its interval, and an arrow on each side on which they leave the plot."""
    mean, low, high = row["mean"], row["ci_low"], row["ci_high"]
    kind, (left, right) = row["verdict"].partition(":")[0], axes.get_xlim()
    face = colour if kind in ("better", "worse") else "none"
    mark: dict[str, Any] = {"color": colour, "markersize": 4.5, "markerfacecolor": face}
    axes.errorbar(mean, place, xerr=np.abs([[mean - low], [high - mean]]), fmt="D" if kind == "mixed" else "o", **mark)
    for arrow, edge, beyond in (("<", left, min(mean, low) < left), (">", right, max(mean, high) > right)):
        if beyond:
            axes.plot([edge], [place], arrow, clip_on=False, **mark)


def _forest_alt(comparison: Comparison, rows: pd.DataFrame, metric: str) -> str:
    digits, words = METRICS[metric].digits, []
    for row in rows.to_dict("records"):
        ends, mean = interval(row["ci_low"], row["ci_high"], digits), number(row["mean"], digits, True)
        words.append(f"{row['model']} {mean} (95 % interval {ends}; {row['verdict']})")
    about = f"{comparison.setup.units.heading(metric)} from {comparison.baseline}, {comparison.labels[-1]}"
    return with_minus(f"Mean difference in {about}: {shortened(words, MOST_NUMBERS)}.")


def bland_altman(comparison: Comparison, model: str, metric: str) -> Picture:
    """The difference of the model from the baseline in each case, against the mean of the two."""
    names = list(comparison.values["label"].unique())
    tables = [comparison.by_case(name, metric) for name in names]
    ours, theirs = (np.array([table[who] for table in tables]) for who in (model, comparison.baseline))
    differences, heading = ours - theirs, comparison.setup.units.heading(metric)
    with drawing():
        figure, axes = new_axes(PAIR_IN, 3.5 + (0.17 * ((len(names) + 2) // 3) if len(names) > 1 else 0))
        for i, name in enumerate(names):
            axes.scatter((ours[i] + theirs[i]) / 2, differences[i], s=16, label=in_legend(name), **_marker(i))
        agreement = _limits_of_agreement(axes, differences[~np.isnan(differences)], METRICS[metric].digits)
        axes.set(xlabel=f"mean of both, {heading}", ylabel=f"{model} {with_minus('-1')[0]} {comparison.baseline}")
        axes.grid(axis="y")
        if len(names) > 1:
            figure.legend(loc="outside lower left", ncols=3)
        return as_svg(figure, f"Bland-Altman plot of {model} and {comparison.baseline}, {heading}: {agreement}.")


def _limits_of_agreement(axes: Axes, difference: np.ndarray, digits: int) -> str:
    """Draw bias and limits, and return them in words."""
    if not len(difference):
        return "no pair"
    bias, spread = float(difference.mean()), float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    low, high = bias - 1.96 * spread, bias + 1.96 * spread
    axes.axhline(0, color=GRID, linewidth=1, zorder=0)
    for place, width, style in ((bias, 1.0, "-"), (low, 0.8, "--"), (high, 0.8, "--")):
        axes.axhline(place, color=INK, linewidth=width, linestyle=style)
        text = with_minus(number(place, digits, True))
        axes.annotate(text, (1, place), (-2, 2), ("axes fraction", "data"), "offset points", ha="right", fontsize=7.5)
    limits = f"limits of agreement {interval(low, high, digits)}"
    return with_minus(f"mean difference {number(bias, digits, True)}, {limits}")


def _marker(i: int) -> dict[str, Any]:
    shape = "os^Dv"[i // len(COLOURS) % 5]
    return {"color": COLOURS[i % len(COLOURS)], "marker": shape, "alpha": 0.75, "linewidths": 0}


def reliability_diagrams(comparison: Comparison) -> list[Picture]:
    """Plot how often a label is present against its probability, a panel per label and a curve per model."""
    if comparison.calibration.empty:
        return []
    curves, pictures = reliability_curve(comparison.calibration), []
    errors = calibration_errors(comparison.calibration).set_index(["label", "model"])["expected_error"]
    for label, rows in curves.groupby("label", sort=False):
        with drawing():
            figure, axes = new_axes(PANEL_IN, 3.4)
            axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle="--", zorder=0)
            for model, curve in rows.groupby("model", sort=False):
                colour = colours(comparison)[model]
                axes.plot(curve["probability"], curve["frequency"], "o-", color=colour, label=in_legend(model), ms=3.5)
            axes.set(title=str(label), xlabel="probability", ylabel="frequency", xlim=(0, 1), ylim=(0, 1))
            axes.grid()
            figure.legend(loc="outside lower left", ncols=2)
            words = shortened([f"{model} {error:.4f}" for model, error in errors[label].items()], MOST_NUMBERS)
            pictures.append(as_svg(figure, f"Reliability of {label}, expected calibration errors: {words}."))
    return pictures


def in_legend(name: str) -> str:
    """Matplotlib leaves names with a leading underscore out of legends."""
    return f"\N{ZERO WIDTH SPACE}{name}" if name.startswith("_") else name


def wrap(name: str, width: int = 16) -> str:
    """Break a long name at capitals, underscores or spaces, so that labels leave room for the plot."""
    lines, line = [], ""
    for i, character in enumerate(name):
        breakable = character in " _-" or (character.isupper() and i and name[i - 1].islower())
        if breakable and len(line) >= width - 5:
            lines.append(line)
            line = ""
        line += character
    return "\n".join([*lines, line])
