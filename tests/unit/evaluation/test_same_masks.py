"""docs/same-masks.md: our values are computed here, those of other packages are in the committed file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nnunetv2_masam.evaluation.centerlines import centerline
from nnunetv2_masam.evaluation.label_arrays import measure_labels
from nnunetv2_masam.evaluation.metrics import MetricSettings
from tests.unit.evaluation.label_arrays import labels

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]]
    for line in (ROOT / "docs" / "same-masks.md").read_text("utf-8").splitlines()
    if line.startswith("| ")
][1:]
THEIRS = {
    package: entry["answers"]
    for package, entry in json.loads((ROOT / "benchmarks/results/other-packages.json").read_text("utf-8")).items()
}
# the page's names of packages
NAMES = {"medpy": "MedPy", "monai": "MONAI"}
SPACING_MM = (5.0, 1.0, 1.0)


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("other_packages", ROOT / "benchmarks" / "other_packages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load()
QUESTIONS = list(SCRIPT.MASKS)


def ours(
    question: int, column: str, spacing_mm: tuple[float, ...] = (1, 1, 1), tolerance_mm: float = 0.5, **kinds: str
) -> float:
    masks = SCRIPT.MASKS[QUESTIONS[question]]
    settings = MetricSettings(("lesion_wise",), lesion_rule="brats-gli", **kinds)  # type: ignore[arg-type]
    (row,) = measure_labels(*masks, labels(1), spacing_mm, [tolerance_mm], settings=settings)
    return float(row[column])


@pytest.mark.parametrize(
    ("row", "shown", "value"),
    [
        (0, "none", lambda: ours(0, "Dice")),
        (1, "20.785 mm", lambda: ours(1, "HD95_mm")),
        (2, "0.663", lambda: ours(2, "NSD")),
        (2, "gives 0.643", lambda: ours(2, "NSD", nsd_surface="voxels")),
        (3, "0.345 mm", lambda: ours(3, "ASSD_mm")),
        (4, "0.860", lambda: ours(4, "NSD", SPACING_MM, 2.0)),
        (4, "gives 0.714", lambda: ours(4, "NSD", SPACING_MM, 2.0, nsd_surface="voxels")),
        (5, "4 mm", lambda: ours(5, "ASSD_mm", SPACING_MM)),
        (6, "374 mm", lambda: ours(6, "lesion_HD95_mm")),
        (7, "53 points", lambda: float(np.count_nonzero(centerline(SCRIPT.rod() > 0)))),
        (8, "5 mm", lambda: ours(8, "HD95_mm", SPACING_MM)),
        (9, "1 mm", lambda: ours(9, "HD95_mm", SPACING_MM)),
    ],
)
def test_our_values(row: int, shown: str, value: object) -> None:
    assert callable(value)
    found = value()
    number = "none" if np.isnan(found) else next(word for word in shown.split() if word[0].isdigit())
    assert number == "none" or float(number) == pytest.approx(found, abs=0.0005)
    assert shown in ROWS[row][3 if shown.startswith("gives") else 1]


@pytest.mark.parametrize("package", THEIRS)
def test_values_of_other_packages(package: str) -> None:
    """Each stands in its row as the file has it, behind the package's name and version."""
    name, version = package.rsplit(" ", 1)
    for question, value in THEIRS[package].items():
        cell = ROWS[QUESTIONS.index(question.split(" (")[0])][2]
        shown = value if isinstance(value, str) else f"{value:.3f}".rstrip("0").rstrip(".")
        known = [part for part in cell.split(";") if NAMES.get(name, name) in part or version in part]
        assert any(shown in part and version in part for part in known), (package, question, shown, cell)


def test_every_question_is_a_row() -> None:
    assert len(ROWS) == len(QUESTIONS)
