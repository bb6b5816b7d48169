"""Outputs of a comparison: tables for the terminal, Markdown, LaTeX, CSV, JSON, and one HTML page.

::

    text_table.py  a table of text; as plain text and as Markdown; latex.py: as LaTeX that fits on A4
    quality.py     the comparison → tables of what was measured
    claims.py      the comparison → tables of what may be claimed
    svg.py         Matplotlib figures as SVG for light and dark pages
    figures.py     the comparison → plots
    overlays.py    one slice of a case with contours
    page.py        tables, figures and overlays → report.html
    outputs.py     the other files
"""

from __future__ import annotations

from pathlib import Path

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.report import claims, outputs, quality
from nnunetv2_masam.evaluation.report.latex import document_part
from nnunetv2_masam.evaluation.report.page import write_report
from nnunetv2_masam.evaluation.report.text_table import Table, as_markdown, as_text
from nnunetv2_masam.files import write_text

__all__ = ["all_tables", "terminal_text", "write_files", "write_report"]


def all_tables(comparison: Comparison) -> list[Table]:
    """Every table that has something to show."""
    return [
        table
        for table in (
            quality.quality_table(comparison),
            claims.difference_table(comparison),
            claims.margin_claim_table(comparison),
            claims.fold_difference_table(comparison),
            claims.detection_table(comparison),
            claims.detection_difference_table(comparison),
            claims.ranking_table(comparison),
            quality.volume_table(comparison),
            quality.fold_table(comparison),
            quality.run_table(comparison),
            quality.group_table(comparison),
            claims.group_difference_table(comparison),
            quality.calibration_table(comparison),
            quality.cost_table(comparison),
        )
        if table is not None
    ]


def terminal_text(comparison: Comparison) -> str:
    """Title, notes and the main tables."""
    tables = (
        quality.quality_table(comparison),
        claims.difference_table(comparison, quality.MAIN_METRICS),
        claims.margin_claim_table(comparison),
        quality.run_table(comparison),
        claims.detection_table(comparison),
        claims.detection_difference_table(comparison),
        quality.cost_table(comparison),
    )
    parts = [comparison.setup.title, *(f"Note: {note}" for note in comparison.notes)]
    return "\n\n".join([*parts, *(as_text(table) for table in tables if table is not None)])


def write_files(comparison: Comparison, folder: Path) -> list[Path]:
    """Write all files of a comparison into a folder, which is made if it is missing, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    title, notes, tables = comparison.setup.title, comparison.notes, all_tables(comparison)
    names = ("cases.csv", "table.md", "table.tex", "summary.json", "report.html")
    files = [folder / name for name in names]
    markdown = [f"# {title}", "", *(f"- {note}" for note in notes), "", *map(as_markdown, tables)]
    write_text(files[0], outputs.case_values(comparison).to_csv(index=False, lineterminator="\n"))
    write_text(files[1], "\n".join(markdown))
    write_text(files[2], document_part(tables, [title, *notes]))
    outputs.write_summary_json(comparison, files[3])
    write_report(comparison, tables, files[4])
    return files
