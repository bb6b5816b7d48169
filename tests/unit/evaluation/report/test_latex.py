"""LaTeX: what it escapes, how tables are split, and that LaTeX takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.report import all_tables
from nnunetv2_masam.evaluation.report.latex import as_latex, document_part, escape
from nnunetv2_masam.evaluation.report.text_table import Table

ORGANS = """spleen, right kidney, left kidney, gallbladder, esophagus, liver, stomach, aorta, inferior vena cava,
portal and splenic veins, pancreas, right adrenal gland, left adrenal gland""".replace("\n", " ").split(", ")
NASTY = r"""[A]^~>|_1 \x {50%} #&$ "q" `b' -- ''"""


def table(rows: int = 2, width: int = 1) -> Table:
    cells = {"label": [f"L{i // 2}" for i in range(rows)], "model": ["A", "B"] * (rows // 2)}
    return Table("T", pd.DataFrame(cells | {f"m{i}": ["-0.5000 ± 0.1"] * rows for i in range(width)}), 2, "Below -1.")


def test_every_special_character_is_escaped() -> None:
    assert escape("a_b & 5 % #1 $x {y}") == r"a\_\allowbreak{}b \& 5 \% \#1 \$x \{y\}"
    assert (
        escape(r"\^~<>|") == r"\textbackslash{}\textasciicircum{}\textasciitilde{}\textless{}\textgreater{}\textbar{}"
    )
    assert escape("[1]\n*") == "{[}1{]} {*}"


def test_minus_signs_in_numbers_and_not_in_names() -> None:
    made = table()
    made.cells["model"] = ["x-1", "x"]
    made.cells.loc[1, "m0"] = "-"
    text = as_latex(made)
    assert "$-$0.5000" in text
    assert "Below $-$1." in text
    assert "x-1 &" in text
    assert "x & --" in text


@pytest.mark.parametrize(("rows", "width", "floats"), [(4, 1, 1), (4, 12, 3), (80, 1, 2)])
def test_parts_repeat_keys_and_share_a_number(rows: int, width: int, floats: int) -> None:
    made = table(rows, width)
    made.cells["model"] = [f"{name}{i}" for i, name in enumerate(made.cells["model"])]
    text = as_latex(made)
    parts = text.split(r"\begin{table*}")[1:]
    assert len(parts) == floats
    assert [r"\addtocounter{table}{-1}" in part for part in parts] == [False] + [True] * (floats - 1)
    assert all(re.search(r"^L\d+ & [AB]\d+ & ", part, re.M) and "\nlabel & model & " in part for part in parts)
    assert sorted(set(re.findall(r"\bm\d+\b", text))) == sorted(f"m{i}" for i in range(width))
    assert len(re.findall(r"& [AB]\d+ & ", text)) == rows * (floats if width > 1 else 1)
    assert text.count(r"\fittowidth{\begin{tabular}") == text.count("\\end{tabular}}\n\\end{table*}") == floats


def test_best_values_are_bold() -> None:
    made = replace(table(), best=frozenset({(1, "m0")}))
    assert re.findall(r"\\textbf\{([^}]*)\}", as_latex(made)) == [r"$-$0.5000 $\pm$ 0.1"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_takes_it_and_it_fits(made_up: Callable[..., Comparison], tmp_path: Path) -> None:
    models = ["nnUNetTrainer", "nnUNetTrainerMASAM__nnUNetResEncUNetLPlans__3d_fullres", NASTY, "ü"]
    comparison = made_up(
        ORGANS,
        models,
        cases=6,
        optional=("lesions", "volume_error"),
        empty=lambda m, c, k: "prediction" if (m, c, k) == (1, 0, 2) else "",
    )
    comparison.notes.append("100 % of\nthe cases")
    text = document_part(all_tables(comparison), [comparison.setup.title, *comparison.notes])
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")
    for columns in ("onecolumn", "twocolumn"):
        document = rf"""\documentclass[a4paper,{columns}]{{article}}
\usepackage{{array,booktabs,graphicx}}
\begin{{document}}
\input{{table.tex}}
\end{{document}}
"""
        (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        log = run.stdout.decode("utf-8", "replace")
        assert run.returncode == 0, log[-2000:]
        assert "Output written" in log
        assert not re.findall(r"Overfull \\hbox.*|.*Float too large.*|.*Missing character.*", log)


def test_notes_are_comments() -> None:
    assert "% note\n% second line" in document_part([table()], ["note\nsecond line"])
