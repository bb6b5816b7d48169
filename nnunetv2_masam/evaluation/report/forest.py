"""The forest plot: mean differences from the baseline with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER, METRIC_INFO
from nnunetv2_masam.evaluation.report.figures import MOST_NUMBERS, PANEL_IN, colours, in_legend, wrap
from nnunetv2_masam.evaluation.report.shown import units_of
from nnunetv2_masam.evaluation.report.svg import INK, Picture, as_svg, drawing, new_axes
from nnunetv2_masam.evaluation.report.text_table import MINUS, interval, number, with_minus
from nnunetv2_masam.evaluation.statistics import PairedDifference
from nnunetv2_masam.files import shortened

# rows that reach so many times farther from 0 than the median row are cut at the edge of the plot
MOST_TIMES_THE_MEDIAN = 5.0


def forest(comparison: Comparison, metric: str) -> Picture:
    """Mean differences from the baseline with 95 % intervals, by structure and model; filled where one is shown.

    One interval that is far longer than the others, or endless, does not squeeze them: it ends in an arrow with the
    value that it reaches.
    """
    names, models, heading = comparison.structure_names, list(comparison.differences), units_of(comparison).heading
    digits = METRIC_INFO[metric].digits
    rows = [comparison.differences[model][name][metric] for model in models for name in names]
    with drawing():
        step = 1 / (len(models) + 1)
        figure, axes = new_axes(PANEL_IN, 1.0 + len(names) * (0.12 + 0.15 * len(models)))
        axes.axvline(0, color=INK, linewidth=0.9, zorder=0)
        axes.set_xlim(*axis_limits([(row.ci_low, row.mean, row.ci_high) for row in rows]))
        for i, model in enumerate(models):
            colour = colours(comparison)[model]
            for j, name in enumerate(names):
                place = j + (i - (len(models) - 1) / 2) * step
                _draw_row(axes, comparison.differences[model][name][metric], place, colour, digits)
            axes.plot([], [], "o-", color=colour, markersize=4.5, label=in_legend(model))
        axes.set_yticks(range(len(names)), [wrap(name, 22) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
        side = "right" if HIGHER_IS_BETTER[metric] else "left"
        axes.set_title(f"{heading(metric)}: {side} of 0 is better")
        axes.set_xlabel(f"difference from {wrap(comparison.baseline, 30)}")
        if len(models) > 1:
            figure.legend(loc="outside lower left", ncols=1 if max(map(len, models)) > 14 else 2)
        return as_svg(figure, _alternative(comparison, metric))


def axis_limits(rows: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Limits of an axis that shows 0 and all rows but those far outside.

    Args:
        rows: lower end, mean and upper end; any of them may be missing (NaN) or infinite.
    """
    finite = [[value for value in row if math.isfinite(value)] for row in rows]
    reaches = [max(map(abs, values)) for values in finite if values]
    if not reaches or max(reaches) == 0:
        return -1.0, 1.0
    farthest = MOST_TIMES_THE_MEDIAN * (sorted(reaches)[(len(reaches) - 1) // 2] or max(reaches))
    shown = [value for values in finite for value in values if max(map(abs, values)) <= farthest]
    low, high = min(0.0, *shown), max(0.0, *shown)
    return low - 0.08 * (high - low), high + 0.08 * (high - low)


def _draw_row(axes: Axes, pair: PairedDifference, place: float, colour: str, digits: int) -> None:
    """One mean with its interval; where they leave the plot, an arrow with the value."""
    left, right = axes.get_xlim()
    axes.hlines(place, *np.clip([pair.ci_low, pair.ci_high], left, right), color=colour, linewidth=1.4)
    kind = pair.verdict.partition(":")[0]
    mark: dict[str, Any] = {"color": colour, "markersize": 4.5}
    mark["markerfacecolor"] = colour if kind in ("better", "worse") else "none"
    if left <= pair.mean <= right:
        axes.plot([pair.mean], [place], "D" if kind == "mixed" else "o", **mark)
    if min(pair.ci_low, pair.mean) < left:
        axes.plot([left], [place], "<", clip_on=False, **mark)
        _annotate(axes, left, place, "left", _reached(pair.mean, pair.ci_low, pair.mean < left, digits))
    if max(pair.ci_high, pair.mean) > right:
        axes.plot([right], [place], ">", clip_on=False, **mark)
        _annotate(axes, right, place, "right", _reached(pair.mean, pair.ci_high, pair.mean > right, digits))


def _reached(mean: float, end: float, mean_is_outside: bool, digits: int) -> str:
    endless = f"{'+' if end > 0 else MINUS}\N{INFINITY}"
    reached = endless if math.isinf(end) else number(end, digits, True)
    return with_minus(f"mean {number(mean, digits, True)}, to {reached}" if mean_is_outside else f"to {reached}")


def _annotate(axes: Axes, edge: float, place: float, side: str, text: str) -> None:
    offset = (5 if side == "left" else -5, 2)
    axes.annotate(text, (edge, place), offset, textcoords="offset points", ha=side, fontsize=6.5)


def _alternative(comparison: Comparison, metric: str) -> str:
    name, digits = comparison.structure_names[-1], METRIC_INFO[metric].digits
    found = []
    for model, pairs in comparison.differences.items():
        pair = pairs[name][metric]
        ends = interval(pair.ci_low, pair.ci_high, digits)
        found.append(f"{model} {number(pair.mean, digits, True)} (95 % interval {ends}; {pair.verdict})")
    text = f"Mean difference in {units_of(comparison).heading(metric)} from {comparison.baseline}, {name}: "
    return with_minus(f"{text}{shortened(found, MOST_NUMBERS)}.")
