"""``nnUNetv2_masam doctor -d``: a dataset that is not there is no fault of the installation."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from nnunetv2_masam.installation import REINSTALL, WARNING, _guarded, check_data, check_network


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return tmp_path


@pytest.mark.parametrize("dataset", ["77", "Dataset77_Short", "liver"])
def test_a_dataset_that_is_not_there(folders, dataset):
    (finding,) = check_data(dataset)
    assert finding.status == WARNING
    assert f"-d {dataset}" in finding.subject
    assert "correct -d" in finding.remedy
    assert REINSTALL not in finding.remedy


def test_a_variable_that_is_not_set(folders, monkeypatch):
    (folders / "raw" / "Dataset077_Liver").mkdir()
    monkeypatch.delenv("nnUNet_preprocessed")
    (finding,) = check_data("77")
    assert finding.status == WARNING
    assert "nnUNet_preprocessed is not set" in finding.detail


def test_a_dataset_that_is_not_preprocessed(folders):
    (folders / "raw" / "Dataset077_Liver").mkdir()
    (finding,) = check_data("77")
    assert (finding.status, finding.remedy) == (WARNING, "nnUNetv2_plan_and_preprocess -d 77")


def test_warnings_of_libraries_are_not_in_the_report(tmp_path):
    """The lookup of trainers imports every module of a folder, as nnU-Net does, and torch warns in some."""
    (tmp_path / "old_trainer.py").write_text("import warnings; warnings.warn('call another function', FutureWarning)\n")
    code = f"""
import os, sys
from nnunetv2_masam.installation import _guarded, check_trainers
os.environ["nnUNet_extTrainer"] = {str(tmp_path)!r} + os.pathsep + os.environ["nnUNet_extTrainer"]
print(len(list(_guarded("Trainers", check_trainers))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 20
    assert "Warning" not in done.stderr


def test_what_torch_says_of_a_device_is_in_the_report(monkeypatch):
    def warn():
        warnings.warn("The NVIDIA driver on your system is too old", UserWarning, stacklevel=2)
        return False

    monkeypatch.setattr("torch.cuda.is_available", warn)
    (device,) = [finding for finding in check_network() if finding.subject == "device"]
    assert device.detail.endswith("; The NVIDIA driver on your system is too old")


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'a.b'", name="a.b"), TypeError("x")])
def test_remedies_where_the_host_has_another_version(monkeypatch, error):
    def check():
        raise error
        yield

    monkeypatch.setattr("nnunetv2_masam.installation.wrong_versions", lambda: ["nnunetv2 2.6.2 is installed, …"])
    ((finding,)) = _guarded("Trainers", check)
    assert "see the remedies under Versions" in finding.remedy
    monkeypatch.setattr("nnunetv2_masam.installation.wrong_versions", list)
    ((finding,)) = _guarded("Trainers", check)
    assert finding.remedy == "pip install a" if isinstance(error, ImportError) else REINSTALL in finding.remedy
