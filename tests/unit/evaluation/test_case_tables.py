"""Groups of cases and values of other tools, from CSV files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_masam.cli import main
from nnunetv2_masam.csv_tables import read_case_table
from nnunetv2_masam.evaluation.value_tables import read_groups, read_values

BASE, OURS = "nnUNetTrainer", "nnUNetTrainerMASAM"
COMPARE = ["compare", "-d", "901", "-np", "1", BASE]

pytestmark = pytest.mark.usefixtures("no_report")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_groups_folds_and_optional_metrics_are_in_the_table_of_cases(dataset: Any, tmp_path: Path) -> None:
    lines = [f"{case},{'Zürich' if i % 2 else 'Ulm'}" for i, case in enumerate([*dataset.cases, "unused"])]
    sites = write(tmp_path / "sites.csv", "\ufeffcase,site\n" + "\n".join(lines) + "\n\n")
    out = tmp_path / "out"
    arguments = ["--groups", str(sites), "--metrics", "lesions", "sensitivity", "precision", "boundary_iou"]
    assert main([*COMPARE, OURS, *arguments, "volume_error", "-o", str(out)]) == 0
    rows = rows_of(out / "cases.csv")
    assert [row["group"] for row in rows[::2]] == 6 * ["Ulm", "Zürich"]
    assert [row["fold"] for row in rows[:12:2]] == ["0", "0", "1", "1", "2", "2"]
    shifted = next(row for row in rows if row["model"] == BASE and row["label"] == "kidney")
    # 5 voxels wide, shifted by 2
    assert float(shifted["sensitivity"]) == float(shifted["precision"]) == pytest.approx(3 / 5)
    assert float(shifted["relative_volume_error"]) == 0
    assert [shifted[f"lesions_{kind}"] for kind in ("reference", "prediction", "matched")] == 3 * ["1.0"]
    assert (shifted["lesion_F1"], shifted["lesion_false_positives"]) == ("1.0", "0.0")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["groups"]["case_1"] == "Zürich"
    assert summary["summaries"][BASE]["kidney"]["sensitivity"]["n"] == 6
    assert "lesion_F1" in summary["differences"][OURS]["kidney"]
    assert "border voxels" in summary["settings"]["definitions"]["HD95_mm"]


def test_a_table_of_our_own_gives_back_the_same_numbers(dataset: Any, tmp_path: Path) -> None:
    assert main([*COMPARE, OURS, "-o", str(tmp_path / "first")]) == 0
    table = tmp_path / "first" / "cases.csv"
    assert main([*COMPARE, f"{OURS}={table}", "-o", str(tmp_path / "second")]) == 0
    first, second = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("first", "second"))
    assert first["differences"] == second["differences"]
    assert rows_of(table) == rows_of(tmp_path / "second" / "cases.csv")
    assert "may define them otherwise" in second["notes"][0]
    assert second["costs"][OURS]["parameters"] is None


@pytest.mark.parametrize(
    ("folds", "message"),
    [(("0", "1"), "case a is in two folds"), (("0", ""), "case a is in two folds"), (("one", "one"), "is 'one'")],
)
def test_folds_that_are_none(folds: tuple[str, str], message: str, tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    rows = [f"A,a,{fold},{label},0.5" for fold, label in zip(folds, ("kidney", "liver"), strict=True)]
    table.write_text("\n".join(["model,case,fold,label,Dice", *rows]))
    with pytest.raises(ValueError, match=message):
        read_values("A", table)


def test_a_table_of_our_own_knows_the_folds(dataset: Any, tmp_path: Path) -> None:
    """So a comparison of tables alone has the test over folds too."""
    assert main([*COMPARE, OURS, "-o", str(tmp_path / "first")]) == 0
    table = tmp_path / "first" / "cases.csv"
    assert main(["compare", "-d", "901", f"{BASE}={table}", f"{OURS}={table}", "-o", str(tmp_path / "second")]) == 0
    first, second = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("first", "second"))
    assert first["differences"][OURS]["kidney"]["Dice"]["fold_level"]["folds"] == 3
    assert first["differences"] == second["differences"]
    assert rows_of(table) == rows_of(tmp_path / "second" / "cases.csv")
    assert set(second["costs"][BASE].values()) == {None}


def test_the_table_of_another_tool(dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{case};{label};0.9{i};reader 1" for i, case in enumerate(dataset.cases) for label in ("Kidney", "LIVER")]
    table = write(tmp_path / "other tool.csv", "case;label;DSC;read by\n" + "\n".join(lines))
    arguments = [*COMPARE, str(table), "-o", str(tmp_path / "out")]
    assert main(arguments) == 0
    theirs = [row for row in rows_of(tmp_path / "out" / "cases.csv") if row["model"] == "other tool"]
    assert [row["Dice"] for row in theirs[::2]] == ["0.9", "0.91", "0.92", "0.93", "0.94", "0.95"]
    assert {row["HD95_mm"] for row in theirs} == {""}
    volumes = {row["volume_reference_ml"] for row in rows_of(tmp_path / "out" / "cases.csv")}
    assert {row["volume_reference_ml"] for row in theirs} == volumes
    capsys.readouterr()
    write(table, table.read_text().replace("0.91", "nan").replace("case_5;LIVER", "case_5;spleen"))
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert f"{table}: 3 values are missing: case_1 kidney: no finite Dice" in message
    assert "case_5 liver: no row" in message
    write(table, "\n".join(table.read_text().splitlines()[:-2]))
    assert main(arguments) == 2
    assert "other tool lacks predictions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected different names with case among them"),
        ("name,Dice\na,1\n", r"has the columns \['name', 'Dice'\]"),
        ("case,Dice\n", "has no rows"),
        ("case,Dice\na\n", "line 2: 1 cells, expected 2"),
        ("case,Dice\na,good\n", "Dice of case a is 'good', expected a number"),
        ('case,Dice\n"a,1\n', "line 2: is no CSV"),
        ("case,Dice\na,1\na,1\n", "two rows for case a"),
        ("case,length\na,1\n", "expected metrics among them"),
        ("case,Dice,DSC\na,1,1\n", "each once"),
        ("case,model,Dice\na,A,1\na,B,1\n", "has the models A, B; name one of them"),
    ],
)
def test_damaged_tables(tmp_path: Path, text: str, complaint: str) -> None:
    table = write(tmp_path / "t.csv", text)
    with pytest.raises(ValueError, match=rf"t\.csv.*{complaint}"):
        read_values("name", table)


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"case,Dice\n\xff,1\n")
    with pytest.raises(ValueError, match=r"t\.csv: cannot be read as UTF-8"):
        read_case_table(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"u\.csv: cannot be read"):
        read_case_table(tmp_path / "u.csv")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("case,group\na,1\n", "no group for 1 of 2 cases: b"),
        ("case,group\na,1\nb,\n", "no group for 1 of 2 cases: b"),
        ("case,group\na,1\nb,2\na,3\n", "case a is in two groups, 1 and 3"),
        ("case,site,scanner\na,1,1\nb,1,1\n", "expected case and group"),
    ],
)
def test_groups_that_do_not_fit(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_groups(write(tmp_path / "g.csv", text), ["a", "b"])
