"""Models with box prompts stand in the tables, marked, and are compared with their like only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_masam.cli import main
from nnunetv2_masam.evaluation.prompted import Prompt, find_prompt
from tests.unit.evaluation.conftest import blobs, degrade, write_volume


def predict(dataset: Any, root: Path, name: str, shift: int, record: dict[str, Any] | None) -> Path:
    """A folder as nnUNetv2_predict leaves it, for images with what ``boxes`` writes down beside them."""
    folder, images = root / name, root / f"inputs_{name}"
    for i, case in enumerate(dataset.cases):
        write_volume(folder / f"{case}.nii.gz", degrade(blobs(i), shift))
    images.mkdir()
    if record is not None:
        dataset.write_json(images / "masam_boxes.json", record)
    dataset.write_json(folder / "predict_from_raw_data_args.json", {"list_of_lists_or_source_folder": str(images)})
    boxed = {"masam_box_channel": 1} if record is not None else {}
    dataset.write_json(folder / "dataset.json", dataset.dataset_json | boxed)
    return folder


@pytest.fixture
def arguments(dataset: Any, tmp_path: Path) -> list[str]:
    """Two automatic models, oracle boxes at two margins, and boxes that a person drew."""
    oracle = {"source": "reference", "margin_mm": 0.0}
    folders = {
        "plain": predict(dataset, tmp_path, "plain", 2, None),
        "other": predict(dataset, tmp_path, "other", 3, None),
        "tight": predict(dataset, tmp_path, "tight", 0, oracle),
        "wide": predict(dataset, tmp_path, "wide", 1, oracle | {"margin_mm": 5.0}),
        "person": predict(dataset, tmp_path, "person", 1, {"source": "drawn"}),
    }
    return [*dataset.test_set_arguments(**folders), "-o", str(tmp_path / "out")]


def summary(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "out" / "summary.json").read_text())


def test_marked_in_every_output_and_kept_out_of_the_tests(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("nnunetv2_masam.evaluation.report.page.shown_cases", lambda *_: {})
    assert main(arguments) == 0
    found = summary(tmp_path)
    assert found["prompts"] == {
        "plain": None,
        "other": None,
        "tight": {"source": "reference", "margin_mm": 0.0},
        "wide": {"source": "reference", "margin_mm": 5.0},
        "person": {"source": "drawn", "margin_mm": None},
    }
    assert set(found["differences"]) == {"other"}
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| kidney | tight | oracle box, 0 mm | 6 | 1.0000" in table  # the best, and not in bold
    assert "| kidney | plain | none | 6 | **" in table
    assert "no difference from plain is tested for tight, wide, person" in table
    assert "oracle box, 5 mm" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "oracle box, 0 mm" in page


def test_tested_where_asked_for_and_among_their_like(arguments, tmp_path, no_report):
    assert main([*arguments, "--across-prompts"]) == 0
    assert set(summary(tmp_path)["differences"]) == {"other", "tight", "wide", "person"}
    assert main([*arguments, "--baseline", "tight"]) == 0
    assert set(summary(tmp_path)["differences"]) == {"wide", "person"}


def test_inputs_that_are_gone_leave_the_origin_unknown_until_it_is_said(arguments, tmp_path, capsys, no_report):
    shutil.rmtree(tmp_path / "inputs_tight")
    shutil.rmtree(tmp_path / "inputs_wide")
    assert main(arguments) == 0
    assert summary(tmp_path)["prompts"]["tight"]["source"] == "unknown"
    assert "tight" not in summary(tmp_path)["differences"]
    assert main([*arguments, "--oracle", "tight=2.5", "wide"]) == 0
    prompts = summary(tmp_path)["prompts"]
    assert prompts["tight"] == {"source": "reference", "margin_mm": 2.5}
    assert prompts["wide"] == {"source": "reference", "margin_mm": None}
    capsys.readouterr()
    assert main([*arguments, "--oracle", "nobody"]) == 2
    assert "--oracle nobody: the models are plain, other" in capsys.readouterr().err
    assert main([*arguments, "--oracle", "tight=wide"]) == 2
    assert "expected NAME or NAME=millimetres" in capsys.readouterr().err


def test_a_cross_validation_has_the_boxes_of_its_data_set(tmp_path):
    boxed = {"masam_box_channel": 1, "masam_boxes": {"source": "reference", "margin_mm": 3.0}}
    assert find_prompt(tmp_path, boxed, cross_validated=True) == Prompt("reference", 3.0)
    assert find_prompt(tmp_path, boxed, cross_validated=False) == Prompt("unknown")
    assert find_prompt(tmp_path, {}, cross_validated=True) is None
