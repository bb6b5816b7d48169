"""Stock nnU-Net commands in an empty folder, as a user types them: plan, train, resume, predict, evaluate, export."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.host.conftest import CHECKOUT, Workspace

TRAINER = "nnUNetTrainerMASAM_testing"


class Shell:
    """Runs commands of this environment in one folder with nnU-Net's variables set."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment, "PYTHONPATH": str(CHECKOUT)}

    def __call__(self, command: str, *arguments: str | Path, check: bool = True) -> str:
        program = [str(Path(sys.executable).parent / command)]
        if command == "nnUNetv2_masam":  # whether the command itself is installed is tested in install/
            program = [sys.executable, "-m", "nnunetv2_masam.cli"]
        done = subprocess.run(
            [*program, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output[-3000:]
        return output


@pytest.fixture(scope="module")
def shell(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("empty"), workspace.environment)


@pytest.fixture(scope="module")
def trained(workspace: Workspace, shell: Shell) -> Path:
    """A model trained by nnUNetv2_train on nnU-Net's default plans."""
    output = shell("nnUNetv2_train", "901", "3d_fullres", "0", "-tr", TRAINER, "-device", "cpu", "--npz")
    assert "Mean Validation Dice" in output
    return workspace.results / "Dataset901_Plain" / f"{TRAINER}__nnUNetPlans__3d_fullres"


def predict(shell: Shell, images: Path, output: Path) -> dict[str, np.ndarray]:
    shell("nnUNetv2_predict", "-i", images, "-o", output, "-d", "901", "-c", "3d_fullres", "-f", "0", "-tr", TRAINER,
          "-device", "cpu", "-npp", "1", "-nps", "1")  # fmt: skip
    return {file.name: sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in output.glob("*.nii.gz")}


def test_train_leaves_what_nnunet_leaves(trained):
    fold = trained / "fold_0"
    assert (fold / "checkpoint_final.pth").is_file()
    assert (fold / "progress.png").is_file()
    assert list((fold / "validation").glob("*.npz"))
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    assert set(summary["mean"]) == {"1", "2"}


def test_continue_and_validate_only(trained, shell):
    arguments = ("901", "3d_fullres", "0", "-tr", TRAINER, "-device", "cpu")
    assert "Training done." in shell("nnUNetv2_train", *arguments, "--c")
    assert "Mean Validation Dice" in shell("nnUNetv2_train", *arguments, "--val", "--val_best")


def test_predict_evaluate_export_and_import(workspace, trained, shell, tmp_path):
    raw = workspace.raw / "Dataset901_Plain"
    predicted = predict(shell, raw / "imagesTs", tmp_path / "predictions")
    assert set(predicted) == {"caseTs0.nii.gz", "caseTs1.nii.gz"}
    image = sitk.ReadImage(str(raw / "imagesTs" / "caseTs0_0000.nii.gz"))
    prediction = sitk.ReadImage(str(tmp_path / "predictions" / "caseTs0.nii.gz"))
    assert prediction.GetSpacing() == image.GetSpacing()
    assert prediction.GetSize() == image.GetSize()
    shell("nnUNetv2_evaluate_folder", raw / "labelsTs", tmp_path / "predictions", "-djfile", trained / "dataset.json",
          "-pfile", trained / "plans.json", "-np", "1")  # fmt: skip
    assert (tmp_path / "predictions" / "summary.json").is_file()

    archive = tmp_path / "model.zip"
    shell("nnUNetv2_export_model_to_zip", "-d", "901", "-o", archive, "-c", "3d_fullres", "-f", "0", "-tr", TRAINER,
          "--not_strict")  # fmt: skip
    elsewhere = Shell(tmp_path, {**workspace.environment, "nnUNet_results": str(tmp_path / "results")})
    (tmp_path / "results").mkdir()
    elsewhere("nnUNetv2_install_pretrained_model_from_zip", archive)
    again = predict(elsewhere, raw / "imagesTs", tmp_path / "again")
    assert again.keys() == predicted.keys()
    for name, labels in predicted.items():
        assert np.array_equal(labels, again[name]), name


def test_python_of_the_readme(workspace, trained, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("MODEL_FOLDER").symlink_to(trained)
    Path("IMAGES").symlink_to(workspace.raw / "Dataset901_Plain" / "imagesTs")
    exec(code, {})
    assert {path.name for path in Path("PREDICTIONS").glob("*.nii.gz")} == {"caseTs0.nii.gz", "caseTs1.nii.gz"}


def test_plan_command(workspace, shell):
    """Plans of their own, on the baseline's preprocessed data, then trained by name."""
    output = shell("nnUNetv2_masam", "plan", "-d", "901", "-tr", TRAINER)
    assert "uses the preprocessed data in" in output
    plans = json.loads((workspace.preprocessed / "Dataset901_Plain" / "nnUNetMASAMPlans.json").read_text())
    baseline = json.loads((workspace.preprocessed / "Dataset901_Plain" / "nnUNetPlans.json").read_text())
    assert plans["plans_name"] == "nnUNetMASAMPlans"
    assert plans["configurations"].keys() == baseline["configurations"].keys()
    planned = plans["configurations"]["3d_fullres"]
    assert planned["data_identifier"] == "nnUNetPlans_3d_fullres"
    # what is planned in memory is what the command writes
    stored = workspace.results / "Dataset901_Plain" / f"{TRAINER}__nnUNetPlans__3d_fullres" / "plans.json"
    if stored.is_file():
        assert json.loads(stored.read_text())["configurations"]["3d_fullres"] == planned
    shell("nnUNetv2_train", "901", "3d_fullres", "1", "-tr", TRAINER, "-p", "nnUNetMASAMPlans", "-device", "cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-pl", "Nobody"), "planner 'Nobody' is neither in"),
        (("-tr", "nnUNetTrainer"), "nnUNetTrainer is not a MA-SAM trainer"),
        (("-tr", TRAINER, "-c", "3d_lowres"), "-c: got 3d_lowres, the plans have"),
        (("-tr", TRAINER, "-base", "nnUNetResEncUNetMPlans"), "no baseline plans"),
        (("-tr", "nnUNetTrainerMASAM_H", "-gpu_memory_target", "2"), "2 GB is too small"),
    ],
)
def test_plan_command_refuses_what_it_cannot_do(shell, arguments, message):
    assert message in shell("nnUNetv2_masam", "plan", "-d", "901", *arguments, check=False)


def test_missing_weights_end_with_a_remedy(shell):
    arguments = ("901", "3d_fullres", "0", "-tr", "nnUNetTrainerMASAM", "-device", "cpu")
    output = shell("nnUNetv2_train", *arguments, check=False)
    assert "sam_vit_b_01ec64.pth" in output
    assert "MASAM_CHECKPOINT" in output
