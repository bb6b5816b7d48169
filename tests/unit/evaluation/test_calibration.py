"""Calibration by hand, compared with MONAI, from ``case.npz`` in every output, and damaged files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from nnunetv2_masam.cli import main
from nnunetv2_masam.evaluation.calibration import calibration_errors, reliability, reliability_curve
from tests.unit.evaluation.conftest import blobs, write_volume

BASE, OURS = "nnUNetTrainer", "nnUNetTrainerMASAM"
COMPARE = ["compare", "-d", "901", BASE, OURS, "-np", "1", "--calibration"]


def expected_error(bins: pd.DataFrame) -> float:
    (row,) = calibration_errors(bins.assign(model="A", run=0, case="a", label="x")).to_dict("records")
    return row["expected_error"]


def test_by_hand() -> None:
    """Two bins: probabilities of 0.2 and 0.4 that come true once in four, one of 0.8 that always does."""
    probabilities = np.array([0.2, 0.2, 0.4, 0.4, 0.8, 0.8])
    member = np.array([False, False, False, True, True, True])
    found = reliability(probabilities, member, bins=2)
    np.testing.assert_allclose(found["probability"], [0.3, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found["frequency"], [0.25, 1.0])
    np.testing.assert_array_equal(found["count"], [4, 2])
    assert expected_error(found) == pytest.approx((4 * 0.05 + 2 * 0.2) / 6, rel=1e-6)


@pytest.mark.parametrize("bins", [1, 7, 10, 15, 20])
@pytest.mark.parametrize("edges", [False, True])
def test_against_monai(bins: int, edges: bool) -> None:
    """MONAI's own numbers, for probabilities on the edges of bins too."""
    calibration = pytest.importorskip("monai.metrics.calibration")
    random = np.random.default_rng(0)
    values = random.random((6, 7, 8)) if not edges else random.integers(0, bins + 1, (6, 7, 8)) / bins
    probabilities = values.astype(np.float32)
    member = random.random(probabilities.shape) < probabilities**2
    found = reliability(probabilities, member, bins=bins)
    pair = torch.from_numpy(probabilities)[None, None], torch.from_numpy(member)[None, None].float()
    theirs = [tensor[0, 0].numpy() for tensor in calibration.calibration_binning(*pair, num_bins=bins)]
    np.testing.assert_array_equal(found["count"], theirs[2])
    np.testing.assert_allclose(found["probability"], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(found["frequency"], theirs[1], rtol=1e-5)
    metric = calibration.CalibrationErrorMetric(num_bins=bins, calibration_reduction="expected")
    metric(y_pred=pair[0], y=pair[1])
    assert expected_error(found) == pytest.approx(metric.aggregate().item(), rel=1e-4, abs=1e-7)


def test_only_counted_voxels_count() -> None:
    probabilities, member = np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[True, False], [True, True]])
    counted = np.array([[True, True], [False, False]])
    assert reliability(probabilities, member, counted)["count"].sum() == 2
    assert expected_error(reliability(probabilities, member, counted)) == pytest.approx(0.1)


def test_half_precision_as_nnunet_saves_it() -> None:
    probabilities = np.array([0.25, 0.75, 1.0], np.float16)
    assert reliability(probabilities, np.array([False, True, True]), bins=4)["count"].tolist() == [1, 0, 1, 1]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected equal ones"):
        reliability(np.zeros(3), np.zeros(4, bool))
    with pytest.raises(ValueError, match=r"from -2 to 3; expected 0 to 1"):
        reliability(np.array([-2.0, 3.0]), np.zeros(2, bool))
    with pytest.raises(ValueError, match=r"expected 0 to 1"):
        reliability(np.array([np.nan, 0.5]), np.zeros(2, bool))
    with pytest.raises(ValueError, match=r"bins is 0"):
        reliability(np.zeros(3), np.zeros(3, bool), bins=0)


@pytest.fixture
def no_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the overlays, which take seconds."""
    monkeypatch.setattr("nnunetv2_masam.evaluation.report.page.shown_cases", lambda *_: {})


def add_probabilities(dataset: Any, trainer: str, sure: float) -> None:
    """Perfect predictions with this probability of the right label; background and the other label share the rest."""
    for i, case in enumerate(dataset.cases):
        heads = np.full((3, *blobs(i).shape), (1 - sure) / 2, np.float32)
        for value in range(3):
            heads[value][blobs(i) == value] = sure
        path = dataset.prediction(trainer, case)
        write_volume(path, blobs(i))
        np.savez_compressed(str(path).removesuffix(".nii.gz") + ".npz", probabilities=heads)
    dataset.write_summaries(trainer)


def test_the_error_of_perfect_predictions_that_are_not_sure(dataset: Any, tmp_path: Path, no_cases: None) -> None:
    add_probabilities(dataset, OURS, 0.8)
    assert main([*COMPARE, "-o", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary["calibration"]) == {OURS}
    for label, value in (("kidney", 1), ("liver", 2)):
        shares = [float((blobs(i) == value).mean()) for i in range(6)]
        expected = [0.2 * share + 0.1 * (1 - share) for share in shares]
        found = summary["calibration"][OURS][label]
        assert found["cases"] == 6
        assert found["expected_error"] == pytest.approx(np.mean(expected), abs=1e-6)
        assert found["highest"] == pytest.approx(max(expected), abs=1e-6)
    assert any(f"no probabilities (case.npz) beside the predictions of {BASE}" in note for note in summary["notes"])
    assert "| kidney | nnUNetTrainerMASAM | 6 | 0.1" in (tmp_path / "table.md").read_text()
    assert "Reliability of liver, expected calibration errors: nnUNetTrainerMASAM 0.1" in (
        tmp_path / "report.html"
    ).read_text(encoding="utf-8")


def test_voxels_under_the_ignore_label_do_not_count(dataset: Any, tmp_path: Path, no_cases: None) -> None:
    add_probabilities(dataset, OURS, 1.0)
    dataset.dataset_json["labels"] = dataset.dataset_json["labels"] | {"ignore": 3}
    for trainer in (BASE, OURS):
        dataset.write_json(dataset.model_folder(trainer) / "dataset.json", dataset.dataset_json)
    for i, case in enumerate(dataset.cases):
        changed = blobs(i)
        changed[:, :, 10:] = 3  # whatever is predicted there
        write_volume(dataset.references / f"{case}.nii.gz", changed)
    for path in dataset.results.rglob("summary.json"):
        path.unlink()
    assert main([*COMPARE, "-o", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "summary.json").read_text())["calibration"][OURS]["liver"]
    assert found["expected_error"] == pytest.approx(0, abs=1e-6)


def test_curves_count_voxels_and_errors_count_cases() -> None:
    keys = {"model": "A", "run": 0, "label": "x"}
    bins = pd.DataFrame(
        [
            {**keys, "case": "a", "bin": 0, "probability": 0.1, "frequency": 0.0, "count": 90},
            {**keys, "case": "a", "bin": 9, "probability": 0.9, "frequency": 1.0, "count": 10},
            {**keys, "case": "b", "bin": 9, "probability": 0.9, "frequency": 0.5, "count": 30},
            {**keys, "case": "b", "bin": 5, "probability": float("nan"), "frequency": float("nan"), "count": 0},
        ]
    )
    (row,) = calibration_errors(bins).to_dict("records")
    assert (row["cases"], row["expected_error"]) == (2, pytest.approx((0.1 + 0.4) / 2))
    curve = reliability_curve(bins).set_index("bin")
    assert curve["frequency"].to_dict() == {0: 0.0, 9: pytest.approx(25 / 40)}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"no archive", "cannot be read as probabilities of nnU-Net"),
        ({"softmax": np.zeros(3)}, "cannot be read as probabilities of nnU-Net"),
        ({"probabilities": np.zeros((3, 2, 2, 2), np.float32)}, r"has the shape \(3, 2, 2, 2\), expected"),
        ({"probabilities": np.zeros((1, 10, 16, 20), np.float32)}, r"expected 2 regions or at least 3 labels"),
    ],
)
def test_damaged_probabilities(dataset: Any, capsys: Any, content: Any, complaint: str) -> None:
    path = dataset.prediction(OURS, "case_3").with_name("case_3.npz")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez_compressed(path, **content)
    assert main(COMPARE) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert re.search(complaint, error), error
