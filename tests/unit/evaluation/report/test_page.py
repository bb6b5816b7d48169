"""The HTML page: complete in itself, the same for the same input, readable without seeing it."""

from __future__ import annotations

import base64
import math
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from nnunetv2_masam.cli import main
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.report import all_tables, page, write_report
from nnunetv2_masam.evaluation.report.figures import axis_limits, forest


class _Page(HTMLParser):
    """Collects what a browser would fetch, and checks that tags are balanced."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.alternatives: list[str] = []
        self.tags: list[tuple[str, str | None]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.tags.append((tag, dict(attrs).get("scope")))
        if tag == "img":
            self.alternatives.append(dict(attrs).get("alt") or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h2", "figcaption"):
            self.headings.append(data.strip())


def test_page_needs_nothing_else(dataset: Any, tmp_path: Path) -> None:
    models = ["U-Net=nnUNetTrainer", "<MA-SAM>=nnUNetTrainerMASAM"]
    assert main(["compare", "-d", "901", *models, "-np", "1", "-o", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text()
    page = _Page(text)
    assert page.addresses
    page.addresses = [address for address in page.addresses if not address.startswith("#")]
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "url(" not in text.split("</style>")[0]
    assert "<MA-SAM>" not in text
    assert {"Quality", "Distribution", "Difference from the baseline", "Folds", "Cases"} <= set(page.headings)
    shown = [heading.split(":")[0] for heading in page.headings if ", Dice" in heading]
    assert shown == ["Best", "Median", "Worst"]
    # distributions of two labels and the average, differences: three metrics each; one pair; three cases
    assert len(page.addresses) == 3 * 3 + 3 + 1 + 3
    assert all(re.search(r"\d", alternative) for alternative in page.alternatives)
    tables, captions = (sum(tag == name for tag, _ in page.tags) for name in ("table", "caption"))
    assert tables == captions > 3
    assert {scope for tag, scope in page.tags if tag == "th"} == {"row", "col"}
    kinds = [re.match(r"data:image/([a-z+]+);base64,(.*)", address) for address in page.addresses]
    for kind in kinds:
        assert kind is not None
        content = base64.b64decode(kind[2])
        assert (b"<svg" in content) if kind[1] == "svg+xml" else content.startswith(b"\x89PNG")


def test_one_model_alone_and_no_images(dataset: Any, tmp_path: Path) -> None:
    shutil.rmtree(dataset.raw)
    assert main(["compare", "-d", "901", "nnUNetTrainer", "-np", "1", "-o", str(tmp_path)]) == 0
    headings = _Page((tmp_path / "report.html").read_text()).headings
    assert "Difference from the baseline" not in headings
    assert "Quality" in headings


def test_a_label_that_is_nowhere_and_a_single_case(dataset: Any, tmp_path: Path) -> None:
    dataset.dataset_json["labels"] = dataset.dataset_json["labels"] | {"spleen": 3}
    for trainer in ("nnUNetTrainer", "nnUNetTrainerMASAM"):
        dataset.write_json(dataset.model_folder(trainer) / "dataset.json", dataset.dataset_json)
        for case in dataset.cases[1:]:
            dataset.prediction(trainer, case).unlink()
    arguments = ["compare", "-d", "901", "--common", "-np", "1", "-o", str(tmp_path)]
    assert main(arguments) == 0
    text = (tmp_path / "report.html").read_text()
    assert "spleen" in text
    assert ">nan" not in text
    assert "too few cases to tell" in text
    assert "nan" not in (tmp_path / "table.md").read_text()


def test_same_bytes_and_one_row_of_small_plots_for_one_label(
    made_up: Callable[..., Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "shown_cases", lambda *_: {})  # made-up comparisons have no files to draw
    comparison = made_up(("tumour",))
    (row,) = page.distributions(comparison).values()
    assert len(row) == 3
    assert all(picture.width_px is not None and picture.width_px < 400 for picture in row)
    write_report(comparison, all_tables(comparison), tmp_path / "1.html")
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.grid": True}):
        np.random.seed(1)
        again = made_up(("tumour",))
        write_report(again, all_tables(again), tmp_path / "2.html")
    text = (tmp_path / "1.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "2.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<img [^>]*width="\d+"', text)) == text.count("<img ")
    assert "Label: tumour." in text


def test_plots_are_readable_on_dark_and_state_numbers(made_up: Callable[..., Comparison]) -> None:
    comparison = made_up(("$x^", "liver"), ("A", "_B", "C"))
    picture = forest(comparison, "HD95_mm")
    text = picture.data.decode()
    assert "prefers-color-scheme:dark" in text
    assert "left of 0 is better" in text
    assert "$x^" in text
    assert "_B</text>" in text  # in the legend
    assert re.search(r"_B \N{MINUS SIGN}\d\.\d\d \(95 % interval \N{MINUS SIGN}", picture.alt)
    assert "fill: #333333" in text  # what the rules for dark pages replace


def test_a_far_interval_is_cut_and_marked(made_up: Callable[..., Comparison]) -> None:
    def limits(*rows: tuple[float, float, float]) -> tuple[float, float]:
        return axis_limits(np.array(rows, dtype=float))

    nan = math.nan
    assert limits((-1, 0, 1), (0, 1, 2), (-2, 0, 2)) == pytest.approx((-2.32, 2.32))
    assert limits((-1, 0, 1), (0, 1, 2), (90, 95, 99)) == pytest.approx((-1.24, 2.24))
    assert limits((nan, 3, nan)) == pytest.approx((-0.24, 3.24))
    assert limits((nan, nan, nan)) == limits((0, 0, 0)) == (-1, 1)

    comparison = made_up(("kidney", "liver", "spleen"))
    plain = forest(comparison, "Dice").data.count(b"<use ")
    found = comparison.differences
    one = (found["label"] == "kidney") & (found["metric"] == "Dice")
    found.loc[one, ["mean", "ci_low", "ci_high"]] = 8.0, -9.0, 9.5
    assert forest(comparison, "Dice").data.count(b"<use ") > plain
