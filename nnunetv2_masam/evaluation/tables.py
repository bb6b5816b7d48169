"""Tables of a comparison, as text for a terminal, as Markdown and as LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nnunetv2_masam.evaluation.comparison import AVERAGE, Comparison
from nnunetv2_masam.evaluation.metrics import HIGHER_IS_BETTER, METRICS

DIGITS = {"Dice": 4, "IoU": 4, "NSD": 4, "HD95_mm": 2, "ASSD_mm": 2}
HEADINGS = {"Dice": "Dice", "IoU": "IoU", "NSD": "NSD", "HD95_mm": "HD95 (mm)", "ASSD_mm": "ASSD (mm)"}
NOTHING = "-"
MARGIN_TITLE = "Dice against box margin"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: heading.
        columns: column headings.
        rows: cells.
        best: (row, column) of cells to set in bold.
        numeric: columns that are aligned right.
        caption: what the numbers are.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    numeric: frozenset[int] = field(default_factory=frozenset)
    caption: str = ""


def number(value: float | None, digits: int) -> str:
    """A rounded number, or a dash where there is none."""
    return NOTHING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def p_value(value: float) -> str:
    """A p-value as papers print it."""
    return NOTHING if math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def quality_table(comparison: Comparison) -> Table:
    """Mean ± standard deviation and median of every metric, by structure and model; the best mean in bold.

    Where a model was prompted, a column says with what, and the best is sought among those that were not.
    """
    rows: list[list[str]] = []
    best: set[tuple[int, int]] = set()
    prompts = comparison.prompts
    prompted = any(prompts.values())
    ranked = [model for model in comparison.model_names if prompts[model] is None] or comparison.model_names
    for name in comparison.structure_names:
        first = len(rows)
        for model in comparison.model_names:
            summaries = comparison.summaries[model][name]
            counted = sorted({summaries[metric].n for metric in METRICS})
            cells = [f"{_spread(summaries[metric], DIGITS[metric])}" for metric in METRICS]
            prompt = prompts[model]
            marks = ["none" if prompt is None else prompt.text] if prompted else []
            rows.append([name, model, *marks, "/".join(map(str, counted)), *cells])
        for column, metric in enumerate(METRICS, start=3 + prompted):
            means = [comparison.summaries[model][name][metric].mean for model in ranked]
            places = [comparison.model_names.index(ranked[place]) for place in _best(means, HIGHER_IS_BETTER[metric])]
            best |= {(first + place, column) for place in places}
    columns = ["label", "model", *(["prompt"] if prompted else []), "cases", *(HEADINGS[metric] for metric in METRICS)]
    caption = "Mean ± standard deviation (median) over cases; the best mean in bold"
    caption += ", among models without a prompt." if prompted and len(ranked) < len(prompts) else "."
    return Table("Quality", columns, rows, frozenset(best), frozenset(range(2 + prompted, len(columns))), caption)


def margin_table(comparison: Comparison) -> Table | None:
    """Mean Dice against the margin of oracle boxes; None with fewer than two margins."""
    models = margins(comparison)
    if len({margin for margin, _ in models}) < 2:
        return None
    rows = [
        [
            f"{margin:g}",
            model,
            *(number(comparison.summaries[model][n]["Dice"].mean, 4) for n in comparison.structure_names),
        ]
        for margin, model in models
    ]
    columns = ["margin (mm)", "model", *comparison.structure_names]
    caption = "Mean Dice with boxes around the reference that are wider by the margin on every side."
    return Table(MARGIN_TITLE, columns, rows, numeric=frozenset({0, *range(2, len(columns))}), caption=caption)


def margins(comparison: Comparison) -> list[tuple[float, str]]:
    """Margin in mm and model, for models with oracle boxes of a known margin, tightest first."""
    known = [(prompt.margin_mm, model) for model, prompt in comparison.prompts.items() if prompt is not None]
    return sorted((margin, model) for margin, model in known if margin is not None)


def difference_table(comparison: Comparison, metrics: Sequence[str] = METRICS) -> Table:
    """Paired differences from the baseline."""
    rows = []
    for model in comparison.differences:
        for metric in metrics:
            for name in comparison.structure_names:
                pair, digits = comparison.differences[model][name][metric], DIGITS[metric]
                mean = NOTHING if math.isnan(pair.mean) else f"{pair.mean:+.{digits}f}"
                interval = (
                    NOTHING if math.isnan(pair.ci_low) else f"{pair.ci_low:+.{digits}f} to {pair.ci_high:+.{digits}f}"
                )
                row = [model, HEADINGS[metric], name, str(pair.n), mean, interval]
                rows.append([*row, p_value(pair.p_holm), number(pair.effect, 2), pair.verdict])
    columns = ["model", "metric", "label", "cases", "difference", "95 % CI", "p (Holm)", "effect", "verdict"]
    caption = (
        f"Paired by case against {comparison.baseline}: mean difference with bootstrap interval, Wilcoxon's "
        "signed-rank test with Holm's correction over labels (the average stands alone), rank-biserial "
        "correlation (1: better in every case, -1: worse in every case)."
    )
    return Table("Difference from the baseline", columns, rows, numeric=frozenset({3, 4, 5, 6, 7}), caption=caption)


def volume_table(comparison: Comparison) -> Table:
    """Volumes of reference and prediction, and their difference."""
    rows = []
    for part in comparison.structures:
        for model in comparison.model_names:
            columns = ("volume_reference_ml", "volume_prediction_ml", "volume_difference_ml")
            values = np.array([comparison.values(model, part.name, column) for column in columns])
            difference = values[2]
            spread = number(float(difference.std(ddof=1)) if len(difference) > 1 else None, 2)
            means = [number(float(mean), 2) for mean in values[:2].mean(axis=1)]
            absolute = number(float(np.abs(difference).mean()), 2)
            rows.append([part.name, model, *means, f"{difference.mean():+.2f}", spread, absolute])
    columns_shown = ["label", "model", "reference (ml)", "prediction (ml)", "difference (ml)"]
    columns_shown += ["its standard deviation", "absolute difference (ml)"]
    caption = "Means over all cases, empty ones included; difference: prediction minus reference."
    return Table("Volumes", columns_shown, rows, numeric=frozenset(range(2, 7)), caption=caption)


def fold_table(comparison: Comparison) -> Table | None:
    """Mean per fold, averaged over structures; None where there are no folds."""
    last = comparison.structure_names[-1]
    folds = sorted(comparison.summaries[comparison.baseline][last]["Dice"].fold_means)
    if not folds:
        return None
    rows = []
    for metric in METRICS:
        for model in comparison.model_names:
            means = comparison.summaries[model][last][metric].fold_means
            rows.append([HEADINGS[metric], model, *(number(means.get(fold), DIGITS[metric]) for fold in folds)])
    columns = ["metric", "model", *(f"fold {fold}" for fold in folds)]
    caption = "Mean over the cases of each fold" + (", averaged over labels." if last == AVERAGE else ".")
    return Table("Folds", columns, rows, numeric=frozenset(range(2, len(columns))), caption=caption)


def empty_table(comparison: Comparison) -> Table | None:
    """Where reference or prediction is empty; None where that happens nowhere."""
    rows = []
    for part in comparison.structures:
        for model in comparison.model_names:
            counts = comparison.empty_counts(model, part.name)
            if any(counts.values()):
                rows.append([part.name, model, *(str(counts[key]) for key in ("prediction", "reference", "both"))])
    if not rows:
        return None
    caption = (
        "Missed or false alarm: Dice, IoU and NSD are 0, HD95 and ASSD are the image diagonal. "
        "Both empty: no value, the case does not count for that label."
    )
    columns = ["label", "model", "missed (prediction empty)", "false alarm (reference empty)", "both empty"]
    return Table("Empty masks", columns, rows, numeric=frozenset({2, 3, 4}), caption=caption)


def cost_table(comparison: Comparison) -> Table | None:
    """Costs by model, the mean over folds; None where nothing is recorded."""
    shown = {
        "parameters": ("parameters (million)", 1e-6, 2),
        "trained_parameters": ("trained (million)", 1e-6, 2),
        "training_hours_per_fold": ("training per fold (h)", 1, 2),
        "seconds_per_epoch": ("epoch (s)", 1, 1),
        "epochs": ("epochs", 1, 0),
        "inference_seconds_per_case": ("inference per case (s)", 1, 1),
        "peak_memory_gib": ("peak memory (GiB)", 1, 2),
        "checkpoint_mib": ("checkpoint (MiB)", 1, 1),
    }
    rows = []
    for model in comparison.model_names:
        cost = asdict(comparison.costs[model]) if model in comparison.costs else {}
        values = [(cost.get(key), factor, digits) for key, (_, factor, digits) in shown.items()]
        rows.append([model, *(number(None if v is None else v * f, digits) for v, f, digits in values)])
    if all(cell == NOTHING for row in rows for cell in row[1:]):
        return None
    columns = ["model", *(heading for heading, _, _ in shown.values())]
    caption = (
        "From checkpoints and nnU-Net's logs, mean over folds; - is not recorded. Inference: median time "
        "between cases in nnU-Net's validation, reading and export included."
    )
    return Table("Cost", columns, rows, numeric=frozenset(range(1, len(columns))), caption=caption)


def all_tables(comparison: Comparison) -> list[Table]:
    """Every table that has something to show."""
    tables = [quality_table(comparison)]
    if comparison.differences:
        tables.append(difference_table(comparison))
    tables.append(volume_table(comparison))
    optional = (margin_table(comparison), empty_table(comparison), fold_table(comparison), cost_table(comparison))
    return tables + [table for table in optional if table is not None]


def as_text(table: Table) -> str:
    """For a terminal: aligned columns; repeated leading cells are shown once."""
    widths = [max(len(str(row[i])) for row in [table.columns, *table.rows]) for i in range(len(table.columns))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if i in table.numeric else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    lines = [table.title, line(table.columns), "  ".join("-" * width for width in widths)]
    previous: Sequence[str] = ()
    for row in table.rows:
        cells = list(row)
        if previous and row[0] == previous[0]:
            cells[0] = ""
        lines.append(line(cells))
        previous = row
    return "\n".join([*lines, table.caption])


def as_markdown(table: Table) -> str:
    """GitHub's Markdown."""

    def escape(cell: str) -> str:
        return cell.replace("|", "\\|").replace("__", "\\_\\_")

    rule = ["---:" if i in table.numeric else "---" for i in range(len(table.columns))]
    lines = [f"## {table.title}", "", f"| {' | '.join(table.columns)} |", f"| {' | '.join(rule)} |"]
    for r, row in enumerate(table.rows):
        cells = [f"**{escape(cell)}**" if (r, c) in table.best else escape(cell) for c, cell in enumerate(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", table.caption, ""])


def as_latex(table: Table) -> str:
    """A ``table*`` for the ``booktabs`` package."""
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "<": "$<$"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}

    def escape(cell: str) -> str:
        return "".join(special.get(character, character) for character in cell)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    body = []
    for r, row in enumerate(table.rows):
        if r and row[0] != table.rows[r - 1][0]:
            body.append(r"\addlinespace")
        cells = [rf"\textbf{{{escape(cell)}}}" if (r, c) in table.best else escape(cell) for c, cell in enumerate(row)]
        body.append(line(cells))
    alignment = "".join("r" if i in table.numeric else "l" for i in range(len(table.columns)))
    head = line([escape(column) for column in table.columns])
    caption = rf"\caption{{{escape(table.title)}. {escape(table.caption)}}}"
    start = [r"\begin{table*}", r"\centering", caption, rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    end = [r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""]
    return "\n".join([*start, head, r"\midrule", *body, *end])


def _spread(summary: Any, digits: int) -> str:
    if math.isnan(summary.mean):
        return NOTHING
    spread = "" if math.isnan(summary.sd) else f" ± {summary.sd:.{digits}f}"
    return f"{summary.mean:.{digits}f}{spread} ({summary.median:.{digits}f})"


def _best(values: Sequence[float], higher_is_better: bool) -> list[int]:
    defined = [value for value in values if not math.isnan(value)]
    if len(values) < 2 or not defined:
        return []
    target = max(defined) if higher_is_better else min(defined)
    return [place for place, value in enumerate(values) if value == target]
