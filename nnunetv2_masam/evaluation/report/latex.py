"""Tables as LaTeX: ``table*`` floats that fit on A4 in documents of one and of two columns.

A table with more columns than fit is split into parts that repeat the last key, one with more rows than fit into parts
that are numbered as one table. Rows of the same first keys stand under a common line, and a key that is the same in all
rows goes into the caption. ``longtable`` would break rows by itself, but not in two columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from nnunetv2_masam.evaluation.report.text_table import DASH, MINUS, NOTHING, Table, with_minus

# what a document needs before \input; the box shrinks a part that is too wide because of very long names
PREAMBLE = r"""% needs \usepackage{array,booktabs,graphicx}
\providecommand{\fittowidth}[1]{\sbox0{#1}\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi}
\ifdefined\extrafloats\extrafloats{200}\fi
\maxdeadcycles=1000
"""
# of article on A4 with 10 pt, in \footnotesize: characters in a line of a column, and lines of a page without rules
LINE_CHARACTERS, PART_LINES, CAPTION_CHARACTERS, GROUP_LINES = 80, 56, 52, 1.6
WRAPPED_CHARACTERS = 17  # columns of words may break lines

_JOINER = "\N{WORD JOINER}"
_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#{}"},
    **{character: f"{{{character}}}" for character in "[]*"},  # after a line's end they would be its arguments
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "_": r"\_\allowbreak{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",
    "`": r"\`{}",
    _JOINER: "{}",
    MINUS: "$-$",
    DASH: "--",
    "±": r"$\pm$",
    "²": r"$^2$",
    "µ": r"$\mu$",
}
_LIGATURES = re.compile(r"([-',])(?=\1)")  # "--" in a name stays two hyphens


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    apart = _LIGATURES.sub(rf"\1{_JOINER}", " ".join(text.split()))
    return "".join(_SPECIAL.get(character, character) for character in apart)


def document_part(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """All tables and notes, for ``\\input``."""
    floats = "\n".join(as_latex(table) for table in tables)
    # of scripts that pdfTeX's fonts do not have, the code is printed instead of an error; other engines have the letter
    foreign = sorted({character for character in floats if ord(character) > 0x17F})
    codes = [
        rf"\ifcsname u8:\detokenize{{{c}}}\endcsname\else"
        rf"\expandafter\gdef\csname u8:\detokenize{{{c}}}\endcsname{{[U+{ord(c):04X}]}}\fi"
        for c in foreign
    ]
    comments = [f"% {line}" for note in notes for line in note.splitlines()]
    return "\n".join([PREAMBLE, *codes, *comments, "", floats])


def as_latex(table: Table) -> str:
    """The table as one or several floats, without medians beside means and keys that are the same in all rows."""
    cells = table.cells.copy()
    for column in table.numeric:
        cells[column] = [cell.partition(" (")[0] if "±" in cell else cell for cell in cells[column]]
    table = replace(table, cells=cells, caption=table.caption.replace(" (median)", "")).without_constant_keys()
    parts = [(rows, columns) for rows in _row_parts(table) for columns in _column_parts(table)]
    return "\n".join(_float(table, columns, rows, continued=bool(i)) for i, (rows, columns) in enumerate(parts))


def _column_parts(table: Table) -> Iterator[list[str]]:
    """The columns of each part: the last key, and as many others as fit beside it."""
    key = table.columns[table.keys - 1]
    part = [key]
    for column in table.columns[table.keys :]:
        if len(part) > 1 and sum(_width(table, other) + 2 for other in [*part, column]) > LINE_CHARACTERS:
            yield part
            part = [key]
        part.append(column)
    yield part


def _row_parts(table: Table) -> Iterator[pd.DataFrame]:
    """The rows of each part, cut between groups where that is possible."""
    height = pd.Series(1, table.cells.index)
    for column in table.columns[table.keys - 1 :]:
        if column not in table.numeric:
            height = height.combine(-(-table.cells[column].str.len() // _width(table, column)), max)
    caption = len(f"{table.title}. {table.caption}") // CAPTION_CHARACTERS + 1
    room, start, used = max(PART_LINES - caption, PART_LINES / 3), 0, 0.0
    heading = GROUP_LINES if table.keys > 1 else 0.0
    for _, group in _groups(table, table.cells):
        for i, place in enumerate(map(table.cells.index.get_loc, group.index)):
            # a group stays together, with the line and space above it, unless it needs a part of its own
            needed = height.iloc[place] if i else heading + min(height[group.index].sum(), PART_LINES // 3)
            if used and used + needed > room:
                yield table.cells.iloc[start:place]
                room, start, used = PART_LINES - 1.3, place, heading if i else 0.0
            used += height.iloc[place] + (0 if i else heading)
    yield table.cells.iloc[start:]


def _groups(table: Table, cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows that share all keys but the last, in order, with what they share."""
    if table.keys == 1:
        yield "", cells
        return
    shared = cells.iloc[:, : table.keys - 1].agg(", ".join, axis=1)
    for _, group in cells.groupby((shared != shared.shift()).cumsum(), sort=False):
        yield str(shared.loc[group.index[0]]), group


def _float(table: Table, columns: Sequence[str], rows: pd.DataFrame, continued: bool) -> str:
    body: list[str] = []
    for shared, group in _groups(table, rows):
        if shared:
            heading = rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\itshape {escape(shared)}}} \\"
            body += [*([r"\addlinespace"] if body else []), heading]
        for index, row in group.iterrows():
            place = table.cells.index.get_loc(index)
            cells = [_cell(table, column, str(row[column]), (place, column) in table.best) for column in columns]
            body.append(" & ".join(cells) + r" \\")
    about = f"{table.title}, continued." if continued else f"{table.title}. {with_minus(table.caption)}"
    alignment = "".join(_alignment(table, column) for column in columns)
    return "\n".join(
        [
            r"\begin{table*}[tbp]",
            *([r"\addtocounter{table}{-1}"] if continued else []),
            rf"\caption{{{escape(about)}}}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}%",
            rf"\fittowidth{{\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
            r"\toprule",
            " & ".join(_head(table, column) for column in columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


def _cell(table: Table, column: str, text: str, bold: bool) -> str:
    if text == NOTHING:
        text = DASH
    elif column in table.numeric:
        text = with_minus(text)
    return rf"\textbf{{{escape(text)}}}" if bold else escape(text)


def _head(table: Table, column: str) -> str:
    """A heading; a line per word above narrow numbers."""
    if column not in table.numeric or len(column) <= _width(table, column):
        return escape(column)
    stacked = r" \\ ".join(map(escape, column.split(" ")))
    return rf"\begin{{tabular}}[b]{{@{{}}r@{{}}}}{stacked}\end{{tabular}}"


def _alignment(table: Table, column: str) -> str:
    if column in table.numeric:
        return "r"
    wrapped = table.cells[column].str.len().max() > _width(table, column)
    return rf">{{\raggedright\arraybackslash}}p{{{_width(table, column) * 4.1:.0f}pt}}" if wrapped else "l"


def _width(table: Table, column: str) -> int:
    """Characters in a line of a column: numbers stay whole, headings break at spaces, and so do long words."""
    texts = list(table.cells[column])
    if column in table.numeric:
        return max(map(len, [*texts, *column.split(" ")]))
    word = max(len(word) for text in [*texts, column] for word in text.split(" "))
    return min(max(map(len, [*texts, column])), max(WRAPPED_CHARACTERS, word))
