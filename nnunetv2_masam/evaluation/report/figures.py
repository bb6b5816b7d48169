"""Plots of a comparison for the page: distributions, and each case against the baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import cbook
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.probabilities import calibration_errors, reliability_curve
from nnunetv2_masam.evaluation.report.quality import margins, mean_dice
from nnunetv2_masam.evaluation.report.svg import COLOURS, GRID, INK, SOFT, Picture, as_svg, drawing, new_axes
from nnunetv2_masam.evaluation.report.text_table import interval, number, with_minus
from nnunetv2_masam.files import shortened

PANEL_IN, PAIR_IN = 3.7, 4.25  # three and two beside each other on a wide page
MOST_NUMBERS = 6  # numbers in an alternative text


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


def case_against_case(comparison: Comparison, model: str, metric: str) -> list[Picture]:
    """Each case with the baseline (x) and the model (y), and the Bland-Altman plot of the two."""
    names = list(comparison.values["label"].unique())
    tables = [comparison.by_case(name, metric) for name in names]
    ours, theirs = (np.array([table[who] for table in tables]) for who in (model, comparison.baseline))
    both = ~np.isnan(ours - theirs)
    heading = comparison.setup.units.heading(metric)
    with drawing():
        legend = 0.17 * ((len(names) + 2) // 3) if len(names) > 1 else 0
        figure, scatter = new_axes(PAIR_IN, 3.5 + legend)
        for i, name in enumerate(names):
            scatter.scatter(theirs[i], ours[i], s=16, label=in_legend(name), **_marker(i))
        if both.any():
            ends = [min(ours[both].min(), theirs[both].min()), max(ours[both].max(), theirs[both].max())]
            scatter.plot(ends, ends, color=INK, linewidth=0.8, zorder=0)
        scatter.set(title=f"{heading}, case against case", xlabel=comparison.baseline, ylabel=in_legend(model))
        scatter.grid()
        if len(names) > 1:
            figure.legend(loc="outside lower left", ncols=3)
        above = int(((ours - theirs)[both] > 0).sum())
        alt = f"{heading} of {model} against {comparison.baseline}: higher in {above} of {both.sum()} pairs."
        pictures = [as_svg(figure, alt)]

        figure, axes = new_axes(PAIR_IN, 3.5)
        for i in range(len(names)):
            axes.scatter((ours[i] + theirs[i]) / 2, ours[i] - theirs[i], s=16, **_marker(i))
        agreement = _limits_of_agreement(axes, (ours - theirs)[both], METRICS[metric].digits)
        axes.set(
            title="Bland-Altman",
            xlabel=f"mean of both, {heading}",
            ylabel=f"{model} {with_minus('-1')[0]} {comparison.baseline}",
        )
        axes.grid(axis="y")
        pictures.append(
            as_svg(figure, f"Bland-Altman plot of {model} and {comparison.baseline}, {heading}: {agreement}.")
        )
    return pictures


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


def margin_curve(comparison: Comparison) -> Picture | None:
    """Mean Dice against the margin of oracle boxes, a curve per label; dashed: the best model without prompts."""
    found = margins(comparison)
    if found.empty:
        return None
    means = mean_dice(comparison)
    automatic = [name for name, prompt in comparison.setup.prompts.items() if prompt is None]
    once = found.is_unique  # else models are mixed, and a line would mislead
    with drawing():
        figure, axes = new_axes(5.2, 3.4)
        for i, name in enumerate(comparison.labels):
            colour = COLOURS[i % len(COLOURS)]
            line = "o-" if once else "o"
            axes.plot(found.to_numpy(), means.loc[found.index, name], line, color=colour, label=in_legend(name))
            if automatic:
                axes.axhline(means.loc[automatic, name].max(), color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
        figure.legend(loc="outside lower left", ncols=3)
        axes.set_title("Oracle boxes" + (" (dashed: the best without a prompt)" if automatic else ""))
        axes.set(xlabel="margin of the box (mm)", ylabel="mean Dice")
        axes.grid(axis="y")
        last = comparison.labels[-1]
        by_margin = [f"{margin:g} mm {number(means.at[model, last], 3)}" for model, margin in found.items()]
        words = shortened(by_margin, MOST_NUMBERS)
        return as_svg(figure, f"Mean Dice of {last} against the margin of boxes around the reference: {words}.")


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
