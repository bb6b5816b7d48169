"""What a comparison looks like: tables for the terminal, Markdown, LaTeX, CSV, JSON, and one HTML page.

::

    table.py    a table of text; as plain text and as Markdown
    latex.py    the same as LaTeX that fits on A4
    shown.py    units and order of the metrics
    quality.py  the comparison → tables of what was measured
    claims.py   the comparison → tables of what may be claimed
    tables.py   which of them there are, and in which order
    svg.py      Matplotlib figures as SVG for light and dark pages
    figures.py  the comparison → plots; forest.py that of the differences
    overlays.py one slice of a case with contours
    page.py     tables, figures and overlays → report.html
    outputs.py  the files
"""

from __future__ import annotations

from pathlib import Path

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.report import outputs, tables
from nnunetv2_masam.evaluation.report.page import write_report
from nnunetv2_masam.evaluation.report.text_table import as_text

__all__ = ["terminal_text", "write_files", "write_report"]


def terminal_text(comparison: Comparison) -> str:
    """Title, notes and the main tables."""
    parts = [comparison.title, *(f"Note: {note}" for note in comparison.notes)]
    return "\n\n".join([*parts, *map(as_text, tables.main_tables(comparison))])


def write_files(comparison: Comparison, folder: Path, images: Path | None = None) -> list[Path]:
    """Write all files of a comparison into a folder, and return them.

    Args:
        comparison: what was compared.
        folder: made if it is missing.
        images: folder with the images that were segmented, for the overlays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writers = {
        "cases.csv": outputs.write_cases_csv,
        "table.md": outputs.write_markdown,
        "table.tex": outputs.write_latex,
        "summary.json": outputs.write_summary_json,
    }
    for name, write in writers.items():
        write(comparison, folder / name)
    write_report(comparison, folder / "report.html", images)
    return [folder / name for name in (*writers, "report.html")]
