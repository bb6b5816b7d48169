"""The cross-validation of ``benchmarks/crossval_hippocampus.py``: the README's table and two pictures."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from nnunetv2_masam.files import read_json, read_text, write_text

FOLDER = Path(__file__).parents[1] / "benchmarks" / "results" / "crossval-hippocampus"
PARTS = {"validation": "validation, {n} cases", "unseen": "unseen, {n} cases, ensemble of the folds"}
MARKS = "<!-- crossval -->", "<!-- end of crossval -->"
COLOURS = ("#666666", "#0072B2", "#E69F00", "#009E73")
AVERAGE = "average"  # over the labels


def read_summaries() -> dict[str, dict[str, Any]]:
    """``summary.json`` of the validation cases and of the unseen ones."""
    return {part: read_json(FOLDER / part / "summary.json") for part in PARTS}


def titles(summaries: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What each part is, with its number of cases."""
    return {part: PARTS[part].format(n=len(summary["cases"])) for part, summary in summaries.items()}


def table(summaries: dict[str, dict[str, Any]]) -> str:
    """Mean Dice and HD95 of each model, and the Dice difference from the baseline with its interval and verdict."""
    lines = ["| cases | model | Dice | HD95, mm | Dice difference | verdict |", "|---|---|---|---|---|---|"]
    for part, title in titles(summaries).items():
        summary = summaries[part]
        for model in summary["models"]:
            means = summary["summaries"][model][AVERAGE]
            row = [title, model, f"{means['Dice']['mean']:.3f}", f"{means['HD95_mm']['mean']:.2f}", "", ""]
            if model != summary["baseline"]:
                found = summary["differences"][model][AVERAGE]["Dice"]
                row[4] = f"{found['mean']:+.3f} ({found['ci_low']:+.3f} to {found['ci_high']:+.3f})"
                row[5] = f"{found['verdict']}; {found['scope']}" if found.get("scope") else found["verdict"]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def section(summaries: dict[str, dict[str, Any]]) -> str:
    """The table and the two pictures, in Markdown."""
    scores = "![Dice of each case by model, validation and unseen cases](docs/images/crossval-scores.png)"
    differences = "![Mean Dice difference by label with its 95 % interval](docs/images/crossval-differences.png)"
    return f"{table(summaries)}\n\n{scores}\n\n{differences}"


def write_section(page: Path, summaries: dict[str, dict[str, Any]]) -> None:
    """Put table and pictures between their marks."""
    before, rest = read_text(page).split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    write_text(page, f"{before}{MARKS[0]}\n{section(summaries)}\n{MARKS[1]}{after}")


def draw_scores(summaries: dict[str, dict[str, Any]]) -> plt.Figure:
    """Each case's Dice, averaged over the labels; a line joins a case in all models."""
    figure, panels = plt.subplots(1, len(summaries), figsize=(9.5, 4.2), sharey=True)
    for panel, (part, title) in zip(panels, titles(summaries).items(), strict=True):
        models = list(summaries[part]["models"])
        scores = case_means(summaries[part], models)
        panel.plot(range(len(models)), scores.T, color="#BBBBBB", lw=0.7, zorder=1)
        for index in range(len(models)):
            colour = COLOURS[index % len(COLOURS)]
            panel.scatter([index] * len(scores), scores[:, index], s=16, color=colour, zorder=2)
            panel.plot([index - 0.28, index + 0.28], [np.mean(scores[:, index])] * 2, color="black", lw=2, zorder=3)
            panel.set_xticks(range(len(models)), models)
        panel.set(title=title, xlim=(-0.5, len(models) - 0.5))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("Dice of a case; bar: mean")
    figure.tight_layout()
    return figure


def case_means(summary: dict[str, Any], models: list[str]) -> np.ndarray:
    """(cases, models): Dice averaged over the labels that have a value."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in summary["values"]:
        if row["Dice"] is not None:
            found[row["case"], row["model"]].append(row["Dice"])
    return np.array([[np.mean(found[case, model]) for model in models] for case in summary["cases"]])


def draw_differences(summaries: dict[str, dict[str, Any]]) -> plt.Figure:
    """Mean difference in Dice from the baseline with its interval, by label."""
    figure, panels = plt.subplots(1, len(summaries), figsize=(9.5, 3.6), sharex=True, sharey=True)
    for panel, (part, title) in zip(panels, titles(summaries).items(), strict=True):
        summary = summaries[part]
        labels = [*(label["name"] for label in summary["labels"]), AVERAGE]
        models = [model for model in summary["models"] if model != summary["baseline"]]
        for index, model in enumerate(models):
            found = [summary["differences"][model][label]["Dice"] for label in labels]
            means = np.array([entry["mean"] for entry in found])
            ends = np.array([[entry["ci_low"], entry["ci_high"]] for entry in found], float).T
            y = -np.arange(len(labels)) - 0.2 * (index - (len(models) - 1) / 2)
            panel.errorbar(means, y, xerr=np.abs(ends - means), fmt="os^D"[index], color=COLOURS[index + 1],
                           capsize=3, label=model)  # fmt: skip
        panel.axvline(0, color="black", lw=1)
        panel.set_yticks(-np.arange(len(labels)), labels)
        panel.set(title=title, xlabel=f"Dice minus that of {summary['baseline']}, 95 % interval")
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=len(COLOURS), frameon=False)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return figure
