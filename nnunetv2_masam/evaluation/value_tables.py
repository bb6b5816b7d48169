"""CSV tables by case: groups of cases (sites, scanners), and the values of a model that another tool measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from nnunetv2_masam.csv_tables import read_case_table
from nnunetv2_masam.evaluation.lineup import NO_FOLD
from nnunetv2_masam.evaluation.metrics import METRICS, VOLUMES, MetricSettings
from nnunetv2_masam.evaluation.units import MILLIMETRES, PIXELS
from nnunetv2_masam.files import shortened
from nnunetv2_masam.label_files import plain_name
from nnunetv2_masam.options import read_number

SYNONYMS = {synonym: metric.name for metric in METRICS.values() for synonym in metric.synonyms}
UNDEFINED = ("", "nan", "na", "n/a", "none", "null", "-")


def is_table(source: str) -> bool:
    """Whether a model is a table of values."""
    return source.lower().endswith(".csv")


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
        raise ValueError(
            f"{path}: no group for {len(missing)} of {len(cases)} cases: {shortened(missing)}; the file has the cases "
            f"{shortened(found)}"
        )
    return {case: found[case] for case in cases}


def read_values(name: str, path: Path) -> pd.DataFrame:
    """The values of a model from a CSV file: ``case``, ``label`` and metrics, one row per case and label.

    ``label`` may be missing where a dataset has one label. Our own ``cases.csv`` is such a file, in pixels as well: its
    column ``model`` selects the rows of `name`, and its columns ``fold`` and ``run`` say which fold and training
    predicted a case. Columns that are no metrics are left out.

    Returns:
        ``run, case, label`` (as `plain_name` writes it), ``fold`` and columns as we name them, in mm and ml.

    Raises:
        ValueError: naming the file and what is wrong in it.
    """
    table = pd.DataFrame(read_case_table(path))
    ours = {"model", "fold"} <= set(table)
    if "model" in table:
        models = sorted(table["model"].unique())
        table = table if len(models) == 1 else table[table["model"] == name]
        if table.empty:
            raise ValueError(f"{path}: has the models {', '.join(models)}; name one of them: {models[0]}={path}")
    lower = {column.lower() for column in table}
    units = PIXELS if lower & (PIXELS.columns().keys() - MILLIMETRES.columns().keys()) else MILLIMETRES
    known = SYNONYMS | units.columns()
    columns = {column: known[column.lower()] for column in table if column.lower() in known}
    if not set(columns.values()) & set(METRICS) or len(set(columns.values())) < len(columns):
        raise ValueError(f"{path}: has the columns {list(table)}, expected metrics among them, each once: Dice, NSD, …")
    labels = table["label"] if "label" in table else pd.Series("", table.index)
    made = pd.DataFrame({"run": 0, "case": table["case"], "label": labels.map(plain_name), "fold": NO_FOLD})
    if ours and "run" in table:
        made["run"] = pd.factorize(table["run"])[0]
    for twice in made.index[made.duplicated(["run", "case", "label"])]:
        raise ValueError(f"{path}: two rows for case {table.at[twice, 'case']}, label {labels[twice]!r}")
    for column, metric in columns.items():
        made[metric] = [
            _number(path, case, column, cell) for case, cell in zip(table["case"], table[column], strict=True)
        ]
        _check_range(path, column, metric, made)
        if metric in VOLUMES:
            made[metric] /= units.size_per_ml
    return made.assign(fold=_folds(path, table)) if ours else made


def _folds(path: Path, table: pd.DataFrame) -> list[int]:
    """The fold of each row, from the column ``fold``, which is empty for cases of a test set."""
    for case, cell in zip(table["case"], table["fold"], strict=True):
        if cell and not cell.isdecimal():
            raise ValueError(f"{path}: fold of case {case} is {cell!r}, expected a number or nothing")
    for case, count in table.groupby("case")["fold"].nunique().items():
        if count > 1:
            raise ValueError(f"{path}: case {case} is in two folds, expected the same in all of its rows")
    return [int(cell) if cell else NO_FOLD for cell in table["fold"]]


def _number(path: Path, case: str, column: str, cell: str) -> float:
    try:
        return math.nan if cell.lower() in UNDEFINED else read_number(cell)
    except ValueError:
        raise ValueError(f"{path}: {column} of case {case} is {cell!r}, expected a number") from None


def _check_range(path: Path, column: str, metric: str, values: pd.DataFrame) -> None:
    """Refuse values that the metric cannot have: Dice in per cent, or -1 where nothing was defined."""
    record = METRICS.get(metric)
    low, high = (
        (record.low, record.high) if record else (0.0 if metric != "volume_difference_ml" else -math.inf, math.inf)
    )
    outside = values[(values[metric] < low) | (values[metric] > high)]
    for _, row in outside.iterrows():
        hint = (
            "Divide values in per cent by 100" if row[metric] > high else "Leave values that are not defined (-1) empty"
        )
        raise ValueError(
            f"{path}: {column} of case {row['case']} is {row[metric]:g}, expected {low:g} to {high:g} "
            f"({len(outside)} of {len(values)} values are outside). {hint}, or leave the column out"
        )


def measured_elsewhere(
    cases: pd.DataFrame,
    values: pd.DataFrame,
    labels: Sequence[str],
    settings: MetricSettings,
    known: Mapping[tuple[str, str], Mapping[str, float]],
) -> pd.DataFrame:
    """A model's values by run, case and label, as of our own measuring.

    Args:
        cases: the rows of the model in the table of cases.
        values: `read_values` of its runs, with a column ``run``.
        labels: names of the labels.
        settings: the metrics to report.
        known: by case and label, what was measured of another model: where references are empty, and their volume.

    Raises:
        ValueError: naming the file, where it lacks a row or a value. A gap would leave the case out of the mean.
    """
    rows = {(row["run"], row["case"], row["label"]): row for row in values.to_dict("records")}
    gaps: list[str] = []
    made = []
    for place in cases.to_dict("records"):
        for label in labels:
            key = place["run"], place["case"]
            row = rows.get((*key, plain_name(label)), rows.get((*key, "")) if len(labels) == 1 else None)
            if row is None:
                gaps.append(f"{place['case']} {label}: no row")
                continue
            record, missing = _record(row, settings, known.get((place["case"], label)))
            made.append({"run": place["run"], "case": place["case"], "label": label, **record})
            gaps += [f"{place['case']} {label}: no finite {metric}" for metric in missing]
    if gaps:
        raise ValueError(
            f"{cases['prediction'].iloc[0]}: {len(gaps)} values are missing: {shortened(gaps)}. Give the worst value "
            "where a structure was missed (0; for distances the image's diagonal), or leave the column out."
        )
    return pd.DataFrame(made)


def _record(
    row: Mapping[str, float], settings: MetricSettings, known: Mapping[str, float] | None
) -> tuple[dict[str, float], list[str]]:
    """A record as of our own measuring, and the metrics that the row has to have a finite value of and has not."""
    record = {column: row.get(column, math.nan) for column in settings.columns}
    record |= {"in_reference": True, "in_prediction": True}
    if known is None:
        return record, []
    if math.isnan(record["volume_reference_ml"]):
        record["volume_reference_ml"] = known["volume_reference_ml"]
    if known["in_reference"]:
        return record, [m for m in settings.metrics if m in row and not math.isfinite(row[m])]
    # nothing there and nothing found: no value here, 1 or none in other tools
    nothing_found = math.isnan(record["Dice"]) or record["Dice"] == 1
    if nothing_found:
        record |= {m: 0.0 if m == "lesion_false_positives" else math.nan for m in settings.metrics}
    return record | {"in_reference": False, "in_prediction": not nothing_found}, []
