"""``nnUNetv2_masam doctor -d``: a dataset that is not there is no fault of the installation."""

from __future__ import annotations

import pytest

from nnunetv2_masam.installation import REINSTALL, WARNING, check_dataset


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize("dataset", ["77", "Dataset77_Short", "liver"])
def test_a_dataset_that_is_not_there(folders, dataset):
    (finding,) = check_dataset(dataset)
    assert finding.status == WARNING
    assert f"-d {dataset}" in finding.subject
    assert "correct -d" in finding.remedy
    assert REINSTALL not in finding.remedy


def test_a_variable_that_is_not_set(folders, monkeypatch):
    (folders / "raw" / "Dataset077_Liver").mkdir()
    monkeypatch.delenv("nnUNet_preprocessed")
    (finding,) = check_dataset("77")
    assert finding.status == WARNING
    assert "nnUNet_preprocessed is not set" in finding.detail


def test_a_dataset_that_is_not_preprocessed(folders):
    (folders / "raw" / "Dataset077_Liver").mkdir()
    finding, _ = check_dataset("77")
    assert (finding.status, finding.remedy) == (WARNING, "nnUNetv2_plan_and_preprocess -d 77")
