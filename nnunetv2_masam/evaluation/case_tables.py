"""CSV tables by case: groups of cases (sites, scanners), and the values of a model that another tool measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_masam.csv_tables import read_case_table
from nnunetv2_masam.evaluation.labels import plain_name
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.metrics import METRIC_INFO, MetricSettings
from nnunetv2_masam.evaluation.results import NO_FOLD, Model, PredictedCase
from nnunetv2_masam.evaluation.units import MILLIMETRES, PIXELS
from nnunetv2_masam.files import shortened

# other tools' names of our metrics, in lower case
SYNONYMS = {"dsc": "Dice", "jaccard": "IoU", "hd95": "HD95_mm", "assd": "ASSD_mm"}
UNDEFINED = ("", "nan", "na", "n/a", "none", "null", "-")


def read_groups(path: Path, cases: Sequence[str]) -> dict[str, str]:
    """The group of each case, from a CSV file with the columns ``case`` and ``group`` (or one other column).

    Raises:
        ValueError: naming the file, where a case has no group or two.
    """
    rows = read_case_table(path)
    others = [column for column in rows[0] if column != "case"]
    if "group" not in others and len(others) != 1:
        raise ValueError(f"{path}: has the columns {list(rows[0])}, expected case and group")
    column = "group" if "group" in others else others[0]
    found: dict[str, str] = {}
    for row in rows:
        if found.setdefault(row["case"], row[column]) != row[column]:
            raise ValueError(f"{path}: case {row['case']} is in two groups, {found[row['case']]} and {row[column]}")
    if missing := [case for case in cases if not found.get(case)]:
        raise ValueError(f"{path}: no group for {len(missing)} of {len(cases)} cases: {shortened(missing)}")
    return {case: found[case] for case in cases}


def read_measured_elsewhere(name: str, path: Path) -> Model:
    """A model from a CSV file of another tool: the columns ``case``, ``label`` and metrics, one row per case and label.

    ``label`` may be missing where a dataset has one label. Our own ``cases.csv`` is such a file, in pixels as well: its
    column ``model`` selects the rows of `name`, and its column ``fold`` says which fold predicted a case. Columns that
    are no metrics are left out.

    Raises:
        ValueError: naming the file and what is wrong in it.
    """
    rows = read_case_table(path)
    ours = {"model", "fold"} <= rows[0].keys()
    if "model" in rows[0]:
        models = sorted({row["model"] for row in rows})
        rows = [row for row in rows if len(models) == 1 or row["model"] == name]
        if not rows:
            raise ValueError(f"{path}: has the models {', '.join(models)}; name one of them: {models[0]}={path}")
    lower = {column.lower() for column in rows[0]}
    units = PIXELS if lower & (PIXELS.columns().keys() - MILLIMETRES.columns().keys()) else MILLIMETRES
    known = SYNONYMS | units.columns()
    columns = {column: known[column.lower()] for column in rows[0] if column.lower() in known}
    if not set(columns.values()) & set(METRIC_INFO) or len(set(columns.values())) < len(columns):
        raise ValueError(
            f"{path}: has the columns {list(rows[0])}, expected metrics among them, each once: Dice, NSD, …"
        )
    values: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        key = row["case"], plain_name(row.get("label", ""))
        if key in values:
            raise ValueError(f"{path}: two rows for case {row['case']}, label {row.get('label', '')!r}")
        values[key] = {metric: units.recorded(metric, _number(path, row, column)) for column, metric in columns.items()}
    folds = _folds(path, rows) if ours else {}
    cases = {case: PredictedCase(case, folds.get(case, NO_FOLD), path) for case, _ in values}
    return Model(name, path, cases, measured_elsewhere=values)


def _folds(path: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """The fold of each case, from the column ``fold``, which is empty for cases of a test set."""
    found: dict[str, int] = {}
    for row in rows:
        cell = row["fold"]
        if cell and not cell.isdecimal():
            raise ValueError(f"{path}: fold of case {row['case']} is {cell!r}, expected a number or nothing")
        fold = int(cell) if cell else NO_FOLD
        if found.setdefault(row["case"], fold) != fold:
            raise ValueError(f"{path}: case {row['case']} is in two folds, expected the same in all of its rows")
    return found


def _number(path: Path, row: Mapping[str, str], column: str) -> float:
    cell = row[column]
    try:
        return math.nan if cell.lower() in UNDEFINED else float(cell)
    except ValueError:
        raise ValueError(f"{path}: {column} of case {row['case']} is {cell!r}, expected a number") from None


def records_measured_elsewhere(
    lineup: LineUp,
    structures: Sequence[str],
    settings: MetricSettings,
    records: Mapping[tuple[str, str], Mapping[str, Any]],
) -> tuple[dict[tuple[str, str, str], dict[str, Any]], list[str]]:
    """The records of the models that were measured elsewhere.

    Args:
        lineup: models and cases.
        structures: names of the labels.
        settings: the metrics to report.
        records: by case and label: a record of a model that was measured here, which says where references are empty.

    Returns:
        records by model, case and label, and notes on them.

    Raises:
        ValueError: naming the file, where it lacks a row or a value. A gap would leave the case out of the mean.
    """
    found, notes = {}, []
    for model in lineup.models:
        if model.measured_elsewhere is None:
            continue
        gaps: list[str] = []
        for case in lineup.cases:
            for name in structures:
                row = model.measured_elsewhere.get((case, plain_name(name)))
                if row is None and len(structures) == 1:
                    row = model.measured_elsewhere.get((case, ""))
                if row is None:
                    gaps.append(f"{case} {name}: no row")
                    continue
                record, missing = _record(row, settings, records.get((case, name)))
                found[model.name, case, name] = record
                gaps += [f"{case} {name}: no finite {metric}" for metric in missing]
        if gaps:
            raise ValueError(
                f"{model.folder}: {len(gaps)} values are missing: {shortened(gaps)}. Give the worst value where a "
                "structure was missed (0; for distances the image's diagonal), or leave the column out."
            )
        notes.append(
            f"{model.name}: values as {model.folder} has them; the tool that wrote it may define them otherwise"
        )
    return found, notes


def _record(
    row: Mapping[str, float], settings: MetricSettings, known: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[str]]:
    """A record as of our own measuring, and the metrics that the row has to have a finite value of and has not."""
    record: dict[str, Any] = {column: row.get(column, math.nan) for column in settings.columns}
    empty_reference = known is not None and known["empty"] in ("reference", "both")
    record["empty"] = ""
    if known is None:
        return record, []
    if math.isnan(record["volume_reference_ml"]):
        record["volume_reference_ml"] = known["volume_reference_ml"]
    if empty_reference:
        # nothing there and nothing found: no value here, 1 or none in other tools
        nothing_found = math.isnan(record["Dice"]) or record["Dice"] == 1
        record["empty"] = "both" if nothing_found else "reference"
        if nothing_found:
            record |= {metric: known_value(metric) for metric in settings.metrics}
        return record, []
    return record, [m for m in settings.metrics if m in row and not math.isfinite(row[m])]


def known_value(metric: str) -> float:
    """The value of a metric where reference and prediction are empty."""
    return 0.0 if metric == "lesion_false_positives" else math.nan
