"""The files of a comparison: ``table.md``, ``table.tex``, ``cases.csv`` and ``summary.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.metrics import LESION_COUNTS
from nnunetv2_masam.evaluation.report.latex import document_part
from nnunetv2_masam.evaluation.report.shown import units_of
from nnunetv2_masam.evaluation.report.tables import all_tables
from nnunetv2_masam.evaluation.report.text_table import as_markdown
from nnunetv2_masam.evaluation.results import NO_FOLD
from nnunetv2_masam.files import write_json, write_text


def write_latex(comparison: Comparison, path: Path) -> None:
    """All tables, for ``\\input``."""
    write_text(path, document_part(all_tables(comparison), [comparison.title, *comparison.notes]))


def case_values(comparison: Comparison) -> pd.DataFrame:
    """One row per model, case and label; undefined values are NaN."""
    units, lineup = units_of(comparison), comparison.lineup
    folds = lineup.folds
    counts = LESION_COUNTS if "lesion_F1" in comparison.metrics else ()
    columns = (*comparison.metrics, *counts, "volume_reference_ml", "volume_prediction_ml")
    rows = []
    for model, case, part in product(comparison.model_names, lineup.cases, comparison.structures):
        record = comparison.records[model, case, part.name]
        fold = "" if folds[case] == NO_FOLD else folds[case]
        row = {"model": model, "case": case, "fold": fold, "group": lineup.groups.get(case, ""), "label": part.name}
        values = {units.column(column): units.value(column, float(record[column])) for column in columns}
        rows.append({**row, **values, "empty": record["empty"]})
    return pd.DataFrame(rows)


def write_cases_csv(comparison: Comparison, path: Path) -> None:
    """The values of every case; undefined values are empty cells."""
    write_text(path, case_values(comparison).to_csv(index=False, lineterminator="\n"))


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
        "summaries": _plain(comparison.summaries),
        "foreground_mean": {
            model: {metric: comparison.foreground_mean(model, metric) for metric in comparison.metrics}
            for model in comparison.model_names
        },
        "differences": _plain(comparison.differences),
        "detection": _plain(comparison.detections),
        "detection_differences": _plain(comparison.detection_differences),
        "rankings": _plain(comparison.rankings),
        "by_group": _plain(comparison.groups),
        "empty": {
            model: {part.name: comparison.empty_counts(model, part.name) for part in comparison.structures}
            for model in comparison.model_names
        },
        "costs": {model: asdict(cost) for model, cost in comparison.costs.items()},
        "values": cases,
    }
    write_json(path, without_nan(content))


def _plain(content: Any) -> Any:
    """Dictionaries of dataclasses as dictionaries."""
    if isinstance(content, Mapping):
        return {key: _plain(value) for key, value in content.items()}
    return asdict(content)


def without_nan(content: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have."""
    if isinstance(content, dict):
        return {str(key): without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_nan(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
