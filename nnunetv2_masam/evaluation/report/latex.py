"""Tables as LaTeX: ``table*`` floats that fit on A4 in documents of one and of two columns, written by pandas' Styler.

A table with more columns than fit is split into parts that repeat the keys, one with more rows than fit into parts that
are numbered as one table. A key that is the same in all rows goes into the caption. ``longtable`` would break rows by
itself, but not in two columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from nnunetv2_masam.evaluation.report.text_table import MINUS, NOTHING, Table, with_minus

# what a document needs before \input; the box shrinks a part that is too wide because of very long names
PREAMBLE = r"""% needs \usepackage{array,booktabs,graphicx}
\providecommand{\fittowidth}[1]{\sbox0{#1}\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi}
\ifdefined\extrafloats\extrafloats{200}\fi
\maxdeadcycles=1000
"""
# of article on A4 with 10 pt, in \footnotesize: characters in a line of a column, and lines of a page without rules
LINE_CHARACTERS, PART_LINES, CAPTION_CHARACTERS = 80, 54, 52
SMALL = r"\footnotesize\setlength{\tabcolsep}{3pt}%" + "\n"
WRAPPED_CHARACTERS = 17  # columns of words may break lines
_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#{}"},
    **{character: f"{{{character}}}" for character in "[]*"},  # after a line's end they would be its arguments
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "_": r"\_\allowbreak{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "²": r"$^2$", MINUS: "$-$"},
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))


def document_part(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """All tables and notes, for ``\\input``."""
    comments = [f"% {line}" for note in notes for line in note.splitlines()]
    return "\n".join([PREAMBLE, *comments, "", *map(as_latex, tables)])


def as_latex(table: Table) -> str:
    """The table as one or several floats, without medians beside means and keys that are the same in all rows."""
    cells = table.cells.copy()
    for column in table.numeric:
        means = (cell.partition(" (")[0] if "±" in cell else cell for cell in cells[column])
        cells[column] = ["--" if cell == NOTHING else escape(with_minus(cell)) for cell in means]
    for column in set(table.columns) - table.numeric:
        cells[column] = ["--" if cell == NOTHING else escape(cell) for cell in cells[column]]
    table = replace(table, caption=table.caption.replace(" (median)", "")).without_constant_keys()
    texts = cells[table.columns]
    bold = pd.DataFrame("", texts.index, texts.columns)
    for row, column in table.best:
        bold.loc[row, column] = "textbf:--rwrap;"
    parts = [(rows, columns) for rows in _row_parts(table) for columns in _column_parts(table)]
    return "\n".join(_float(table, texts, bold, part, continued=bool(i)) for i, part in enumerate(parts))


def _column_parts(table: Table) -> Iterator[list[str]]:
    """The columns of each part: as many as fit beside the keys, at least one."""
    keys = table.columns[: table.keys]
    part: list[str] = []
    for column in table.columns[table.keys :]:
        if part and sum(_width(table, other) + 2 for other in [*keys, *part, column]) > LINE_CHARACTERS:
            yield part
            part = []
        part.append(column)
    yield part


def _row_parts(table: Table) -> Iterator[slice]:
    """The rows of each part: as many as fit on a page if all were as high as the highest."""
    words = [column for column in table.columns if column not in table.numeric]
    height = max(-(-table.cells[column].str.len().max() // _width(table, column)) for column in words)
    room = PART_LINES - len(f"{table.title}. {table.caption}") // CAPTION_CHARACTERS
    rows = max(room, PART_LINES // 3) // height
    for start in range(0, len(table.cells), rows):
        yield slice(start, start + rows)


def _float(
    table: Table, texts: pd.DataFrame, bold: pd.DataFrame, part: tuple[slice, list[str]], continued: bool
) -> str:
    rows, columns = part
    keys = table.columns[: table.keys]
    shown, styles = (frame.set_index([texts[key] for key in keys])[columns].iloc[rows] for frame in (texts, bold))
    about = f"{table.title}, continued." if continued else f"{table.title}. {with_minus(table.caption)}"
    styler = shown.style.apply(lambda _: styles, axis=None)
    text = styler.format_index(lambda heading: _head(table, heading), axis=1).to_latex(
        environment="table*",
        position="tbp",
        position_float="centering",
        caption=escape(about),
        column_format=f"@{{}}{''.join(_alignment(table, column) for column in [*keys, *columns])}@{{}}",
        hrules=True,
        multirow_align="naive",
    )
    text = text.replace(r"\begin{tabular}{", rf"{SMALL}\fittowidth{{\begin{{tabular}}{{", 1)
    text = text.replace("\\end{tabular}\n\\end{table*}", "\\end{tabular}}\n\\end{table*}")
    return text.replace(r"\centering", r"\addtocounter{table}{-1}\centering", 1) if continued else text


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
    texts = [cell.partition(" (")[0] if "±" in cell else cell for cell in table.cells[column]]
    if column in table.numeric:
        return max(map(len, [*texts, *column.split(" ")]))
    word = max(len(word) for text in [*texts, column] for word in re.split(r"[ _]", text))
    return min(max(map(len, [*texts, column])), max(WRAPPED_CHARACTERS, word))
