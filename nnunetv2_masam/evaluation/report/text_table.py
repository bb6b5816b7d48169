"""A table of text, how its numbers are written, and the same table as plain text and as Markdown."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

NOTHING = "-"
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
# a hyphen before a number, and not inside a word or a range
_NEGATIVE = re.compile(r"(?<![\w.-])-(?=\.?\d)")


@dataclass(frozen=True)
class Table:
    """A table whose cells are already text.

    Attributes:
        title: heading.
        cells: one row per line, with the headings as columns.
        keys: how many leading columns say what a row is about.
        caption: what the numbers are.
        best: (row, heading) of cells to set in bold.
        words: headings of columns that hold words after the keys; all others hold numbers and are aligned right.
    """

    title: str
    cells: pd.DataFrame
    keys: int
    caption: str
    best: frozenset[tuple[int, str]] = field(default_factory=frozenset)
    words: frozenset[str] = field(default_factory=frozenset)

    @property
    def columns(self) -> list[str]:
        """The headings."""
        return [str(column) for column in self.cells.columns]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells, row by row."""
        return list(self.cells.itertuples(index=False, name=None))

    @property
    def numeric(self) -> frozenset[str]:
        """Headings of the columns with numbers."""
        return frozenset(self.columns[self.keys :]) - self.words

    def without_constant_keys(self) -> Table:
        """The same without keys that have one value in all rows, which the caption then states."""
        keys = self.columns[: self.keys]
        constant = [key for key in keys if self.cells[key].nunique() == 1][: self.keys - 1]
        stated = "".join(f" {key.capitalize()}: {self.cells[key].iloc[0]}." for key in constant)
        cells = self.cells.drop(columns=constant)
        return replace(self, cells=cells, keys=self.keys - len(constant), caption=self.caption + stated)


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """A rounded number, or a dash where there is none; zero has no sign."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text if float(text) else text.lstrip("+-")


def numbers(values: pd.Series, digits: int | Sequence[int], sign: bool = False) -> list[str]:
    """A column of rounded numbers; `digits` of all, or of each."""
    each = [digits] * len(values) if isinstance(digits, int) else digits
    return [number(value, places, sign) for value, places in zip(values, each, strict=True)]


def interval(low: float, high: float, digits: int) -> str:
    """The ends of a confidence interval of a difference."""
    return NOTHING if math.isnan(low) else f"{number(low, digits, True)} to {number(high, digits, True)}"


def p_value(value: float | None) -> str:
    """A p-value as papers print it."""
    return NOTHING if value is None or math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def spread(mean: float, sd: float, median: float, digits: int) -> str:
    """Mean ± standard deviation (median)."""
    if math.isnan(mean):
        return NOTHING
    deviation = "" if math.isnan(sd) else f" ± {number(sd, digits)}"
    return f"{number(mean, digits)}{deviation} ({number(median, digits)})"


def with_minus(text: str) -> str:
    """The text with a minus sign before negative numbers, where there was a hyphen."""
    return _NEGATIVE.sub(MINUS, text)


def as_text(table: Table) -> str:
    """For a terminal: aligned columns; a first key that repeats is shown once."""
    cells = table.cells.copy()
    if table.keys > 1:
        first = cells.columns[0]
        cells[first] = cells[first].mask(cells[first] == cells[first].shift(), "")
    lines = [table.columns, *cells.itertuples(index=False, name=None)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]

    def aligned(line: Sequence[str]) -> str:
        columns = zip(line, widths, table.columns, strict=True)
        return "  ".join(c.rjust(w) if name in table.numeric else c.ljust(w) for c, w, name in columns).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join(
        [table.title, aligned(lines[0]), rule, *map(aligned, lines[1:]), textwrap.fill(table.caption, 110)]
    )


def as_markdown(table: Table) -> str:
    """GitHub's Markdown."""

    def escape(cell: str) -> str:
        return re.sub(r"([\\|<*`\[\]])|(_)(?=_)|(?<=_)(_)", r"\\\g<0>", cell)

    lines = [table.columns, ["---:" if column in table.numeric else "---" for column in table.columns]]
    for r, row in enumerate(table.rows):
        cells = zip(table.columns, row, strict=True)
        lines.append([f"**{escape(cell)}**" if (r, column) in table.best else escape(cell) for column, cell in cells])
    body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"## {table.title}", "", *body, "", table.caption, ""])
