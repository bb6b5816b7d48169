"""The files of a comparison: ``table.md``, ``table.tex``, ``cases.csv`` and ``summary.json``."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import METRICS
from nnunetv2_masam.evaluation.tables import all_tables, as_latex, as_markdown

CASE_COLUMNS = (
    *("model", "case", "label", "Dice", "IoU", "HD95_mm", "ASSD_mm", "NSD"),
    *("volume_reference_ml", "volume_prediction_ml"),
)


def write_latex(comparison: Comparison, path: Path) -> None:
    """All tables, to be used with ``\\input`` and the ``booktabs`` package."""
    notes = [f"% {line}" for note in [comparison.title, *comparison.notes] for line in note.splitlines()]
    path.write_text("\n".join([r"% needs \usepackage{booktabs}", *notes, *map(as_latex, all_tables(comparison))]))


def write_cases_csv(comparison: Comparison, path: Path) -> None:
    """One row per model, case and label; undefined values are empty cells."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CASE_COLUMNS)
        for model in comparison.model_names:
            for case in comparison.lineup.cases:
                for part in comparison.structures:
                    record = comparison.records[model, case, part.name]
                    values = [record[column] for column in CASE_COLUMNS[3:]]
                    writer.writerow([model, case, part.name, *("" if math.isnan(value) else value for value in values)])


def write_markdown(comparison: Comparison, path: Path) -> None:
    """All tables and notes."""
    notes = [f"- {note}" for note in comparison.notes]
    parts = [
        f"# {comparison.title}",
        "",
        *notes,
        "",
        *(as_markdown(table) for table in all_tables(comparison)),
    ]
    path.write_text("\n".join(parts))


def write_summary_json(comparison: Comparison, path: Path) -> None:
    """Everything: settings, notes, values per case, summaries, differences, costs; NaN becomes null."""
    cases = [
        {"model": model, "case": case, "label": label, **record}
        for (model, case, label), record in sorted(comparison.records.items())
    ]
    content = {
        "title": comparison.title,
        "settings": comparison.settings,
        "notes": comparison.notes,
        "baseline": comparison.baseline,
        "models": {model.name: str(model.folder) for model in comparison.lineup.models},
        "prompts": {name: None if p is None else asdict(p) for name, p in comparison.prompts.items()},
        "labels": [asdict(part) for part in comparison.structures],
        "cases": list(comparison.lineup.cases),
        "summaries": {
            model: {name: {metric: asdict(s) for metric, s in metrics.items()} for name, metrics in found.items()}
            for model, found in comparison.summaries.items()
        },
        "foreground_mean": {
            model: {metric: comparison.foreground_mean(model, metric) for metric in METRICS}
            for model in comparison.model_names
        },
        "differences": {
            model: {name: {metric: asdict(d) for metric, d in metrics.items()} for name, metrics in found.items()}
            for model, found in comparison.differences.items()
        },
        "empty": {
            model: {part.name: comparison.empty_counts(model, part.name) for part in comparison.structures}
            for model in comparison.model_names
        },
        "costs": {model: asdict(cost) for model, cost in comparison.costs.items()},
        "values": cases,
    }
    path.write_text(json.dumps(without_nan(content), indent=1, allow_nan=False))


def without_nan(content: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have."""
    if isinstance(content, dict):
        return {str(key): without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_nan(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
