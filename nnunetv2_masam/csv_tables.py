"""CSV tables with a header, one row per case or per part of one: groups, metrics, drawn boxes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from nnunetv2_masam.files import read_text

SEPARATORS = ",;\t"


def read_csv_table(
    path: Path, required: Sequence[str] = ("case",), optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file with a header; separated by commas, semicolons or tabs.

    Args:
        path: the file, UTF-8.
        required: columns that have to be there; others may be, too.
        optional: columns whose cells may be missing at the end of a row; they are empty then.

    Returns:
        line number in the file and cells by column, for each row that is not blank.

    Raises:
        ValueError: naming the file and line.
    """
    lines = read_text(path).removeprefix("\ufeff").splitlines()
    header = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=max(SEPARATORS, key=header.count), strict=True)
    try:
        columns = [column.strip() for column in next(reader, [])]
        if not set(required) <= set(columns) or len(set(columns)) < len(columns):
            raise ValueError(
                f"{path}: has the columns {columns}, expected different names with {', '.join(required)} among them, "
                "separated by commas, semicolons or tabs"
            )
        rows = []
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, _by_column(columns, cells, optional, f"{path}, line {reader.line_num}")))
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: is no CSV ({error}). Close the quotes, or save the table as CSV again"
        ) from error
    if not rows:
        raise ValueError(f"{path}: has no rows, expected some below the header")
    return rows


def read_case_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file that has a column ``case``; see :func:`read_csv_table`.

    Raises:
        ValueError: naming the file and line.
    """
    return [row for _, row in read_csv_table(path)]


def _by_column(columns: Sequence[str], cells: Sequence[str], optional: Sequence[str], place: str) -> dict[str, str]:
    if len(cells) > len(columns) or not set(columns[len(cells) :]) <= set(optional):
        raise ValueError(f"{place}: {len(cells)} cells, expected {len(columns)}")
    padded = [*cells, *[""] * (len(columns) - len(cells))]
    return dict(zip(columns, (cell.strip() for cell in padded), strict=True))
