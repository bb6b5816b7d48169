"""The forest plot: mean differences from the baseline with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.report.figures import MOST_NUMBERS, PANEL_IN, colours, in_legend, wrap
from nnunetv2_masam.evaluation.report.svg import INK, Picture, as_svg, drawing, new_axes
from nnunetv2_masam.evaluation.report.text_table import MINUS, interval, number, with_minus
from nnunetv2_masam.files import shortened

# rows that reach so many times farther from 0 than the median row are cut at the edge of the plot
MOST_TIMES_THE_MEDIAN = 5.0


def forest(comparison: Comparison, metric: str) -> Picture:
    """Mean differences from the baseline with 95 % intervals, by label and model; filled where one is shown.

    One interval that is far longer than the others, or endless, does not squeeze them: it ends in an arrow with the
    value that it reaches.
    """
    labels, heading = comparison.labels, comparison.setup.units.heading(metric)
    found = comparison.differences[comparison.differences["metric"] == metric]
    models = list(found["model"].unique())
    with drawing():
        figure, axes = new_axes(PANEL_IN, 1.0 + len(labels) * (0.12 + 0.15 * len(models)))
        axes.axvline(0, color=INK, linewidth=0.9, zorder=0)
        axes.set_xlim(*axis_limits(found[["ci_low", "mean", "ci_high"]].to_numpy()))
        for row in found.to_dict("records"):
            place = labels.index(row["label"]) + (models.index(row["model"]) - (len(models) - 1) / 2) / (
                len(models) + 1
            )
            _draw_row(axes, row, place, colours(comparison)[row["model"]])
        for model in models:
            axes.plot([], [], "o-", color=colours(comparison)[model], markersize=4.5, label=in_legend(model))
        axes.set_yticks(range(len(labels)), [wrap(label, 22) for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        side = "right" if METRICS[metric].higher_is_better else "left"
        axes.set_title(f"{heading}: {side} of 0 is better")
        axes.set_xlabel(f"difference from {wrap(comparison.baseline, 30)}")
        if len(models) > 1:
            figure.legend(loc="outside lower left", ncols=1 if max(map(len, models)) > 14 else 2)
        digits, words = METRICS[metric].digits, []
        for row in found[found["label"] == labels[-1]].to_dict("records"):
            ends = interval(row["ci_low"], row["ci_high"], digits)
            mean = number(row["mean"], digits, True)
            words.append(f"{row['model']} {mean} (95 % interval {ends}; {row['verdict']})")
        about = f"Mean difference in {heading} from {comparison.baseline}, {labels[-1]}: "
        return as_svg(figure, with_minus(f"{about}{shortened(words, MOST_NUMBERS)}."))


def axis_limits(rows: Iterable[Iterable[float]]) -> tuple[float, float]:
    """Limits of an axis that shows 0 and all rows but those far outside.

    Args:
        rows: lower end, mean and upper end; any of them may be missing (NaN) or infinite.
    """
    finite = [[float(value) for value in row if math.isfinite(value)] for row in rows]
    reaches = sorted(max(map(abs, values)) for values in finite if values)
    if not reaches or reaches[-1] == 0:
        return -1.0, 1.0
    farthest = MOST_TIMES_THE_MEDIAN * (reaches[(len(reaches) - 1) // 2] or reaches[-1])
    shown = [value for values in finite for value in values if max(map(abs, values)) <= farthest]
    low, high = min(0.0, *shown), max(0.0, *shown)
    return low - 0.08 * (high - low), high + 0.08 * (high - low)


def _draw_row(axes: Axes, row: dict[str, Any], place: float, colour: str) -> None:
    """One mean with its interval; where they leave the plot, an arrow with the value."""
    left, right = axes.get_xlim()
    mean, low, high = row["mean"], row["ci_low"], row["ci_high"]
    kind = row["verdict"].partition(":")[0]
    mark: dict[str, Any] = {"color": colour, "markersize": 4.5}
    mark["markerfacecolor"] = colour if kind in ("better", "worse") else "none"
    axes.hlines(place, *np.clip([low, high], left, right), color=colour, linewidth=1.4)
    if left <= mean <= right:
        axes.plot([mean], [place], "D" if kind == "mixed" else "o", **mark)
    for arrow, edge, end, side, beyond in (("<", left, low, "left", -1), (">", right, high, "right", 1)):
        if max(beyond * end, beyond * mean) <= beyond * edge or math.isnan(mean):
            continue
        axes.plot([edge], [place], arrow, clip_on=False, **mark)
        digits = METRICS[row["metric"]].digits
        reached = f"{'+' if end > 0 else MINUS}\N{INFINITY}" if math.isinf(end) else number(end, digits, True)
        about = f"mean {number(mean, digits, True)}, " if beyond * mean > beyond * edge else ""
        text, offset = with_minus(f"{about}to {reached}"), (-5 * beyond, 2)
        axes.annotate(text, (edge, place), offset, textcoords="offset points", ha=side, fontsize=6.5)
