"""Plots of a comparison for the report: box plots with paired lines, case against case."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER
from nnunetv2_masam.evaluation.tables import HEADINGS, margins

# Okabe and Ito's palette: told apart with any colour vision, and in print
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
INK, GRID = "#333333", "#DDDDDD"
FONT: dict[str, Any] = {"fontsize": 9, "color": INK}


@dataclass(frozen=True)
class Picture:
    """An image to be put into the page as it is."""

    data: bytes
    mime: str
    alt: str

    @property
    def uri(self) -> str:
        """A ``data:`` address, so that the page needs no other file."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode()}"


def colours(comparison: Comparison) -> dict[str, str]:
    """One colour per model, the same in every picture."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(comparison.model_names)}


def box_plots(comparison: Comparison, metric: str) -> Picture:
    """One panel per structure: a box per model, and a thin line per case from model to model."""
    names, models = comparison.structure_names, comparison.model_names
    columns = min(3 if len(models) <= 3 else 2, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.9 * rows), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        values = np.array([comparison.values(model, name, metric) for model in models])
        axes.plot(range(len(models)), values, color="#999999", alpha=0.35, linewidth=0.6, zorder=1)
        boxes = axes.boxplot(
            [row[~np.isnan(row)] for row in values],
            positions=range(len(models)),
            widths=0.45,
            showfliers=False,
            patch_artist=True,
            medianprops={"color": INK, "linewidth": 1.4},
        )
        for i, (box, model) in enumerate(zip(boxes["boxes"], models, strict=True)):
            colour = colours(comparison)[model]
            box.set(facecolor=colour, alpha=0.3, edgecolor=colour)
            axes.plot([i] * values.shape[1], values[i], ".", color=colour, markersize=3.5, alpha=0.8, zorder=3)
        axes.set_xticks(range(len(models)), [_wrap(model) for model in models])
        axes.set_xlim(-0.5, len(models) - 0.5)
        defined = values[~np.isnan(values)]
        if not HIGHER_IS_BETTER[metric] and defined.max(initial=0) > 10 * max(np.median([1, *defined]), 1):
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylim(0, 1.5 * defined.max())
            axes.yaxis.set_major_formatter("{x:g}")
        _finish(axes, name, "", HEADINGS[metric] if place % columns == 0 else "")
    return _svg(figure, f"{HEADINGS[metric]} by label and model, one line per case")


def case_against_case(comparison: Comparison, model: str, metric: str) -> Picture:
    """Left: each case with the baseline (x) and the model (y). Right: Bland-Altman."""
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    scatter, bland_altman = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    everything = []
    for i, part in enumerate(comparison.structures):
        ours = np.array(comparison.values(model, part.name, metric))
        theirs = np.array(comparison.values(comparison.baseline, part.name, metric))
        style: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "marker": "os^Dv"[i // len(COLOURS) % 5],
            "alpha": 0.75,
        }
        scatter.scatter(theirs, ours, s=16, label=part.name, linewidths=0, **style)
        bland_altman.scatter((ours + theirs) / 2, ours - theirs, s=16, linewidths=0, **style)
        everything.append(np.stack([ours, theirs]))
    ours, theirs = np.concatenate(everything, axis=1)
    both, agreement = ~np.isnan(ours - theirs), ""
    if both.any():
        low, high = min(ours[both].min(), theirs[both].min()), max(ours[both].max(), theirs[both].max())
        scatter.plot([low, high], [low, high], color=INK, linewidth=0.8, zorder=0)
        agreement = _limits_of_agreement(bland_altman, (ours - theirs)[both])
    scatter.legend(frameon=False, fontsize=7, ncols=1 + len(comparison.structures) // 8)
    heading = HEADINGS[metric]
    _finish(scatter, f"{heading}, case against case", comparison.baseline, model)
    _finish(
        bland_altman,
        f"Bland-Altman: {agreement}",
        f"mean of both, {heading}",
        f"{model} - {comparison.baseline}",
    )
    return _svg(figure, f"{heading} of {model} against {comparison.baseline}")


def margin_curve(comparison: Comparison) -> Picture:
    """Mean Dice against the margin of oracle boxes, a curve per label; dashed: the best model without prompts."""
    found = margins(comparison)
    automatic = [name for name, prompt in comparison.prompts.items() if prompt is None]
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    once = len({margin for margin, _ in found}) == len(found)  # else models are mixed, and a line would mislead
    for i, name in enumerate(comparison.structure_names):
        means = [comparison.summaries[model][name]["Dice"].mean for _, model in found]
        colour = COLOURS[i % len(COLOURS)]
        axes.plot([margin for margin, _ in found], means, "o-" if once else "o", color=colour, label=name)
        if automatic:
            best = max(comparison.summaries[model][name]["Dice"].mean for model in automatic)
            axes.axhline(best, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.legend(frameon=False, fontsize=7)
    title = "Oracle boxes" + (" (dashed: the best without a prompt)" if automatic else "")
    _finish(axes, title, "margin of the box (mm)", "mean Dice")
    return _svg(figure, "Mean Dice by label against the margin of boxes around the reference")


def _limits_of_agreement(axes: Axes, difference: np.ndarray) -> str:
    bias, spread = difference.mean(), difference.std(ddof=1) if len(difference) > 1 else 0.0
    axes.axhline(0, color=GRID, linewidth=1, zorder=0)
    axes.axhline(bias, color=INK, linewidth=1)
    low, high = bias - 1.96 * spread, bias + 1.96 * spread
    for limit in (low, high):
        axes.axhline(limit, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    return f"{bias:+.3f} ({low:+.3f} to {high:+.3f})"


def _finish(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", **FONT)
    axes.set_xlabel(x_label, **FONT)
    axes.set_ylabel(y_label, **FONT)
    axes.tick_params(labelsize=8, colors=INK, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _wrap(name: str, width: int = 16) -> str:
    """Break a long name at capitals or underscores so that tick labels do not run into each other."""
    lines, line = [], ""
    for i, character in enumerate(name):
        breakable = character in " _-" or (character.isupper() and i and name[i - 1].islower())
        if breakable and len(line) >= width - 5:
            lines.append(line)
            line = ""
        line += character
    return "\n".join([*lines, line])


def _svg(figure: Figure, alt: str) -> Picture:
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return Picture(buffer.getvalue(), "image/svg+xml", alt)
