"""The documentation: messages that the source has, figures of the result files, small pictures."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from nnunetv2_masam.files import read_json
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
FOREIGN = re.compile(r"\((nnU-Net|PyTorch|torchvision|the system)\)$")


@pytest.fixture(scope="module")
def errors() -> ModuleType:
    return load_script("docs/site/errors.py")


def entries() -> list[str]:
    """The messages in the first column of the page's tables, but for those of other programs."""
    cells = re.findall(r"^\| (`.*?) \|", TROUBLESHOOTING.read_text("utf-8"), re.MULTILINE)
    return [message for cell in cells if not FOREIGN.search(cell) for message in re.findall(r"`(.+?)`", cell)]


def pattern(entry: str) -> re.Pattern[str]:
    return re.compile("[^\\n]*?".join(re.escape(part) for part in entry.strip("… ").split("…")))


def test_troubleshooting_names_messages_of_the_source(errors):
    texts = errors.literals() + "\n".join(message for part in errors.messages().values() for message in part)
    unknown = [entry for entry in entries() if not pattern(entry).search(texts)]
    assert unknown == []
    assert len(entries()) > 60


def test_troubleshooting_has_every_part_of_the_package(errors):
    for part, messages in errors.messages().items():
        known = [entry for entry in entries() if pattern(entry).search("\n".join(messages))]
        assert known or part == "Images", part


def test_all_messages_are_listed(errors):
    page = errors.page()
    assert page.count("\n- ") > 250
    assert "this fold is being trained or validated by" in page


def test_the_readme_has_todays_predictions():
    script = load_script("benchmarks/predictions.py")
    result = read_json(script.RESULT)
    page = script.PAGE.read_text("utf-8")
    assert script.replaced(page, "predictions", script.table(result)) == page
    one = "nnUNetTrainerMASAM"
    assert script.predictions([one])[one] == result["trainers"][one]


def test_the_readme_has_the_cross_validations_table():
    crossval = load_script("docs/pictures_crossval.py")
    page = (ROOT / "README.md").read_text("utf-8")
    assert crossval.section(crossval.read_summaries()) in page


def test_pictures_are_small():
    pictures = list((ROOT / "docs" / "images").glob("*.png"))
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 250_000] == []
