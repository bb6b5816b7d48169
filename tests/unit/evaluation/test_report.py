"""The HTML page: complete in itself, with what it must show."""

from __future__ import annotations

import base64
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_masam.cli import main


class _Page(HTMLParser):
    """Collects what a browser would fetch, and checks that tags are balanced."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h2", "figcaption"):
            self.headings.append(data.strip())


@pytest.mark.parametrize("with_images", [True, False])
def test_page_needs_nothing_else(dataset: Any, tmp_path: Path, with_images: bool) -> None:
    if not with_images:
        shutil.rmtree(dataset.raw)
    models = ["U-Net=nnUNetTrainer", "<MA-SAM>=nnUNetTrainerMASAM"]
    assert main(["compare", "-d", "901", *models, "-np", "1", "-o", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text()
    page = _Page(text)
    assert page.addresses
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert "url(" not in text.split("</style>")[0]
    assert "<MA-SAM>" not in text
    assert {"Quality", "Distribution", "Difference from the baseline", "Folds", "Cases"} <= set(page.headings)
    shown = [heading.split(":")[0] for heading in page.headings if ", Dice" in heading]
    assert shown == ["Best", "Median", "Worst"]
    # three metrics, one pair, three cases
    assert len(page.addresses) == 3 + 1 + 3
    kinds = [re.match(r"data:image/([a-z+]+);base64,(.*)", address) for address in page.addresses]
    for kind in kinds:
        assert kind is not None
        content = base64.b64decode(kind[2])
        assert (b"<svg" in content) if kind[1] == "svg+xml" else content.startswith(b"\x89PNG")


def test_one_model_alone(dataset: Any, tmp_path: Path) -> None:
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
