"""Tables as LaTeX: ``table*`` floats that fit on A4 in documents of one and of two columns.

A table with more columns than fit is split into parts that repeat the last key, one with more rows than fit into parts
that are numbered as one table. Rows of the same first keys stand under a common line, and a key that is the same in all
rows goes into the caption. ``longtable`` would break rows by itself, but not in two columns.
"""

from __future__ import annotations

import math
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
# of article on A4 with 10 pt: a column is 345 pt wide and 598 pt high. \footnotesize has lines of 9.5 pt: 62, of which
# rules take 6 of them, and each line of the caption 1.3
TEXT_WIDTH_PT, PART_LINES, GROUP_LINES = 345.0, 56.0, 1.6
CAPTION_LINES, CAPTION_CHARACTERS = 1.3, 68
CHARACTER_PT, COLUMN_GAP_PT = 4.1, 6.0
WRAPPED_PT = 72.0  # columns of words may break lines

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
    """The table as one or several floats."""
    table = _compact(table)
    columns = list(_column_parts(table))
    floats: list[str] = []
    for rows in _row_parts(table):
        for part in columns:
            floats.append(_float(table, part, rows, continued=bool(floats)))
    return "\n".join(floats)


def _compact(table: Table) -> Table:
    """Without medians beside means, and without keys that are the same in all rows."""
    cells = table.cells.copy()
    for column in table.numeric:
        cells[column] = [cell.partition(" (")[0] if "±" in cell else cell for cell in cells[column]]
    caption = table.caption.replace(" (median)", "")
    return replace(table, cells=cells, caption=caption).without_constant_keys()


def _column_parts(table: Table) -> Iterator[list[str]]:
    """The columns of each part, without the keys: as many as fit beside the last key."""
    left = _width(table, table.columns[table.keys - 1])
    part: list[str] = []
    used = left
    for column in table.columns[table.keys :]:
        width = _width(table, column)
        if part and used + width > TEXT_WIDTH_PT:
            yield part
            part, used = [], left
        part.append(column)
        used += width
    yield part


def _row_parts(table: Table) -> Iterator[pd.DataFrame]:
    """The rows of each part: whole groups as long as a group fits."""
    part: list[pd.DataFrame] = []
    used, heading = 0.0, GROUP_LINES if table.keys > 1 else 0.0
    lines = _lines(table)
    caption = CAPTION_LINES * math.ceil(len(f"{table.title}. {table.caption}") / CAPTION_CHARACTERS)
    room = max(PART_LINES - caption, PART_LINES / 3)
    for _, group in _groups(table, table.cells):
        for piece in _pieces(group, lines, room - heading):
            height = heading + lines[piece.index].sum()
            if part and used + height > room:
                yield pd.concat(part)
                part, used, room = [], 0.0, PART_LINES - CAPTION_LINES
            part.append(piece)
            used += height
    yield pd.concat(part)


def _pieces(group: pd.DataFrame, lines: pd.Series, most: float) -> Iterator[pd.DataFrame]:
    """A group cut where it is higher than a part."""
    start = 0
    for end in range(1, len(group) + 1):
        if lines[group.index[start : end + 1]].sum() > most or end == len(group):
            yield group.iloc[start:end]
            start = end


def _lines(table: Table) -> pd.Series:
    """Lines of each row: more than one where words are wrapped."""
    lines = pd.Series(1.0, table.cells.index)
    for column in table.columns[table.keys - 1 :]:
        if column not in table.numeric:
            inside = _width(table, column) - COLUMN_GAP_PT
            lines = lines.combine((table.cells[column].str.len() * CHARACTER_PT / inside).apply(math.ceil), max)
    return lines


def _groups(table: Table, cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows that share all keys but the last, in order, with what they share."""
    if table.keys == 1:
        yield "", cells
        return
    shared = cells.iloc[:, : table.keys - 1].agg(", ".join, axis=1)
    for _, group in cells.groupby((shared != shared.shift()).cumsum(), sort=False):
        yield str(shared.loc[group.index[0]]), group


def _float(table: Table, columns: Sequence[str], rows: pd.DataFrame, continued: bool) -> str:
    shown = [table.columns[table.keys - 1], *columns]
    body: list[str] = []
    for shared, group in _groups(table, rows):
        if shared:
            heading = rf"\multicolumn{{{len(shown)}}}{{@{{}}l}}{{\itshape {escape(shared)}}} \\"
            body += [*([r"\addlinespace"] if body else []), heading]
        for index, row in group.iterrows():
            place = table.cells.index.get_loc(index)
            cells = [_cell(table, column, str(row[column]), (place, column) in table.best) for column in shown]
            body.append(" & ".join(cells) + r" \\")
    heads = [_head(table, column) for column in shown]
    about = f"{table.title}, continued." if continued else f"{table.title}. {with_minus(table.caption)}"
    return "\n".join(
        [
            r"\begin{table*}[tbp]",
            *([r"\addtocounter{table}{-1}"] if continued else []),
            rf"\caption{{{escape(about)}}}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}%",
            rf"\fittowidth{{\begin{{tabular}}{{@{{}}{''.join(_alignment(table, column) for column in shown)}@{{}}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
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
    """A heading; long ones of narrow numbers break at spaces."""
    longest = max((len(cell) for cell in table.cells[column]), default=0)
    if column not in table.numeric or len(column) <= max(longest, 8):
        return escape(column)
    lines: list[str] = []
    for word in column.split(" "):
        if lines and len(lines[-1]) + len(word) < max(longest, 8):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    stacked = r" \\ ".join(map(escape, lines))
    return rf"\begin{{tabular}}[b]{{@{{}}r@{{}}}}{stacked}\end{{tabular}}"


def _alignment(table: Table, column: str) -> str:
    if column in table.numeric:
        return "r"
    wrapped = _width(table, column) - COLUMN_GAP_PT
    if max((len(cell) for cell in table.cells[column]), default=0) * CHARACTER_PT > wrapped:
        return rf">{{\raggedright\arraybackslash}}p{{{wrapped:.0f}pt}}"
    return "l"


def _width(table: Table, column: str) -> float:
    """Estimated width of a column in points, with the gap behind it."""
    texts = [str(cell) for cell in table.cells[column]]
    if column in table.numeric:
        longest = max([len(text) for text in texts] + [len(word) for word in column.split(" ")])
        return longest * CHARACTER_PT + COLUMN_GAP_PT
    full = max(map(len, [*texts, column])) * CHARACTER_PT
    word = max(len(word) for text in [*texts, column] for word in text.split(" ")) * CHARACTER_PT
    return min(full, max(WRAPPED_PT, word)) + COLUMN_GAP_PT
