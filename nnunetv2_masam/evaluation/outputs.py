"""The files of a comparison: ``table.md``, ``table.tex``, ``cases.csv`` and ``summary.json``."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import LESION_COUNTS
from nnunetv2_masam.evaluation.results import NO_FOLD
from nnunetv2_masam.evaluation.tables import all_tables, as_latex, as_markdown
from nnunetv2_masam.files import atomic_file, write_json, write_text

CASE_COLUMNS = ("model", "case", "fold", "group", "label")  # before the metrics


def write_latex(comparison: Comparison, path: Path) -> None:
    """All tables, to be used with ``\\input`` and the ``booktabs`` package."""
    notes = [f"% {line}" for note in [comparison.title, *comparison.notes] for line in note.splitlines()]
    write_text(path, "\n".join([r"% needs \usepackage{booktabs}", *notes, *map(as_latex, all_tables(comparison))]))


def write_cases_csv(comparison: Comparison, path: Path) -> None:
    """One row per model, case and label; undefined values are empty cells, and so are the fold and group of none."""
    lineup = comparison.lineup
    folds = lineup.folds
    counts = LESION_COUNTS if "lesion_F1" in comparison.metrics else ()
    columns = (*comparison.metrics, *counts, "volume_reference_ml", "volume_prediction_ml")
    with atomic_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*CASE_COLUMNS, *columns, "empty"])
        for model in comparison.model_names:
            for case in lineup.cases:
                fold = "" if folds[case] == NO_FOLD else folds[case]
                for part in comparison.structures:
                    record = comparison.records[model, case, part.name]
                    values = ["" if math.isnan(record[column]) else record[column] for column in columns]
                    group = lineup.groups.get(case, "")
                    writer.writerow([model, case, fold, group, part.name, *values, record["empty"]])


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
    write_text(path, "\n".join(parts))


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
        "groups": dict(comparison.lineup.groups),
        "summaries": {
            model: {name: {metric: asdict(s) for metric, s in metrics.items()} for name, metrics in found.items()}
            for model, found in comparison.summaries.items()
        },
        "foreground_mean": {
            model: {metric: comparison.foreground_mean(model, metric) for metric in comparison.metrics}
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
    write_json(path, without_nan(content))


def without_nan(content: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have."""
    if isinstance(content, dict):
        return {str(key): without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_nan(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
