"""What the tables and files of a comparison say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.report import all_tables, claims, outputs, quality, terminal_text
from nnunetv2_masam.evaluation.report.text_table import (
    Table,
    as_markdown,
    as_text,
    interval,
    number,
    p_value,
    with_minus,
)
from nnunetv2_masam.evaluation.value_tables import read_values

MakeUp = Callable[..., Comparison]


def column(table: Table | None, heading: str) -> list[str]:
    assert table is not None
    return list(table.cells[heading])


def test_numbers() -> None:
    assert number(-0.00004, 4, sign=True) == "0.0000"
    assert number(0.5, 2, sign=True) == "+0.50"
    assert number(float("nan"), 2) == "-"
    assert interval(-1, 2, 1) == "-1.0 to +2.0"
    assert [p_value(p) for p in (0.0004, 0.5, float("nan"), None)] == ["<0.001", "0.500", "-", "-"]
    assert with_minus("-0.5 to -.1, a-1, 3-4") == "~0.5 to ~.1, a-1, 3-4".replace("~", "\N{MINUS SIGN}")


def test_text_and_markdown_escape_and_align() -> None:
    cells = pd.DataFrame({"label": ["a|b", "a|b"], "model": ["__x__", "<y>"], "Dice": ["1.0", "10.0"]})
    table = Table("T", cells, 2, "Words. " * 30, best=frozenset({(1, "Dice")}))
    lines = as_text(table).splitlines()
    assert lines[3:5] == ["a|b    __x__   1.0", "       <y>    10.0"]
    assert max(map(len, lines)) <= 120
    assert r"| a\|b | \<y> | **10.0** |" in as_markdown(table)
    assert "| __x__ |" not in as_markdown(table)
    assert table.without_constant_keys().columns == ["model", "Dice"]


def test_best_mean_and_optional_metrics(made_up: MakeUp) -> None:
    table = quality.quality_table(made_up(models=("A", "B", "C"), optional=("sensitivity", "volume_error")))
    assert {table.rows[row][1] for row, _ in table.best} == {"C"}
    assert {heading for _, heading in table.best} >= {"Dice", "HD95 (mm)", "sensitivity", "relative volume error"}
    assert table.columns.index("sensitivity") < table.columns.index("HD95 (mm)")


def test_mixed_verdict_and_folds(made_up: MakeUp) -> None:
    """Slightly better in most cases, and a complete failure in one."""
    worse = made_up(("kidney",), cases=20, dice=lambda m, c, k: 0.0 if m and c == 3 else 0.8 + 0.01 * m + 0.001 * c)
    table = claims.difference_table(worse)
    assert column(table, "verdict")[0].startswith("mixed: better in most cases")
    assert column(table, "holds for")[0] == "these models"
    assert column(claims.fold_difference_table(worse), "folds")[0] == "4"
    assert "p over folds" in table.columns
    without_folds = made_up(("kidney",), folds=0)
    assert "p over folds" not in claims.difference_table(without_folds).columns
    assert claims.fold_difference_table(without_folds) is None


def test_detection(made_up: MakeUp) -> None:
    """Liver is absent in cases 0 to 3; A invents it in case 0, B misses it in case 7."""

    def empty(m: int, c: int, k: int) -> str:
        if k == 1 and c < 4:
            return "reference" if (m, c) == (0, 0) else "both"
        return "prediction" if (m, c, k) == (1, 7, 1) else ""

    comparison = made_up(empty=empty)
    table = claims.detection_table(comparison)
    assert column(table, "label") == ["liver", "liver"]
    assert column(table, "found / present") == ["4 / 4", "3 / 4"]
    assert column(table, "false alarms / absent") == ["1 / 4", "0 / 4"]
    assert column(table, "specificity")[0].startswith("0.750 (")
    tests = claims.detection_difference_table(comparison)
    assert column(tests, "rate") == ["sensitivity", "specificity"]
    assert column(tests, "only it is right") == ["0", "1"]
    assert column(tests, "verdict") == ["too few cases to tell"] * 2
    assert quality.EMPTY_RULE in quality.quality_table(comparison).caption
    assert claims.detection_table(made_up()) is None


def test_rankings_and_groups(made_up: MakeUp) -> None:
    comparison = made_up(models=("A", "B", "C"), cases=12, groups=2)
    ranking = claims.ranking_table(comparison)
    assert column(ranking, "model")[:3] == ["C", "B", "A"]
    assert ranking is not None
    assert "Kendall" in ranking.caption
    groups = quality.group_table(comparison)
    assert column(groups, "group")[0] == "site 0"
    assert column(groups, "cases") == ["6"] * (2 * 3 * 3)
    assert set(column(claims.group_difference_table(comparison), "group")) == {"site 0", "site 1"}
    assert claims.ranking_table(made_up()) is None
    assert quality.group_table(made_up()) is None


def test_pixels_for_images_without_physical_size(made_up: MakeUp, tmp_path: Path) -> None:
    comparison = made_up(reader=NaturalImage2DIO)
    for table in all_tables(comparison):
        assert not any(unit in " ".join(table.columns) for unit in ("mm", "ml")), table.title
    areas = quality.volume_table(comparison)
    assert areas.title == "Areas"
    assert column(areas, "reference (px)")[0] == "2000"
    outputs.case_values(comparison).to_csv(tmp_path / "cases.csv", index=False)
    header = (tmp_path / "cases.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith("HD95_px,ASSD_px,NSD,area_reference_px,area_prediction_px,empty")
    again, written = read_values("B", tmp_path / "cases.csv"), comparison.values.query("model == 'B'")
    for name in ("Dice", "HD95_mm", "volume_reference_ml"):
        assert again[name].tolist() == pytest.approx(written[name].tolist())


def test_terminal_and_json(made_up: MakeUp, tmp_path: Path) -> None:
    comparison = made_up(models=("A", "B", "C"), groups=2, empty=lambda m, c, k: "both" if k else "")
    text = terminal_text(comparison)
    assert text.startswith("Made up: 8 cases")
    assert "nan" not in text
    outputs.write_summary_json(comparison, tmp_path / "summary.json")
    content = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert content["differences"]["B"]["kidney"]["Dice"]["verdict"]
    assert content["detection"]["A"]["liver"]["absent"] == 8
    assert content["rankings"]["average"]["Dice"]["models"][0]["rank"] == 1
    assert set(content["by_group"]) == {"site 0", "site 1"}
    assert content["summaries"]["A"]["liver"]["Dice"]["mean"] is None


@pytest.mark.parametrize("cases", [1, 3])
def test_few_cases(made_up: MakeUp, cases: int) -> None:
    for table in all_tables(made_up(cases=cases)):
        assert "nan" not in as_text(table)
