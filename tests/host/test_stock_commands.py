"""Stock nnU-Net commands in an empty folder, as a user types them: plan, train, resume, predict, evaluate, export."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from tests.host.conftest import CHECKOUT, Shell, Workspace

TRAINER = "nnUNetTrainerMASAM_testing"


@pytest.fixture(scope="module")
def trained(workspace: Workspace, shell: Shell) -> Path:
    """A model trained by nnUNetv2_train on nnU-Net's default plans."""
    output = shell("nnUNetv2_train", "901", "3d_fullres", "0", "-tr", TRAINER, "-device", "cpu", "--npz")
    assert "Mean Validation Dice" in output
    return workspace.results / "Dataset901_Plain" / f"{TRAINER}__nnUNetPlans__3d_fullres"


def predict(run: Callable[..., str], images: Path, output: Path, processes: int) -> dict[str, np.ndarray]:
    run("nnUNetv2_predict", "-i", images, "-o", output, "-d", "901", "-c", "3d_fullres", "-f", "0", "-tr", TRAINER,
        "-device", "cpu", "-npp", str(processes), "-nps", str(processes))  # fmt: skip
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
    assert "Training done." in shell.inside("nnUNetv2_train", *arguments, "--c")
    assert "Mean Validation Dice" in shell.inside("nnUNetv2_train", *arguments, "--val", "--val_best")


def test_predict_evaluate_export_and_import(workspace, trained, shell, tmp_path):
    raw = workspace.raw / "Dataset901_Plain"
    predicted = predict(shell, raw / "imagesTs", tmp_path / "predictions", processes=1)
    assert set(predicted) == {"caseTs0.nii.gz", "caseTs1.nii.gz"}
    image = sitk.ReadImage(str(raw / "imagesTs" / "caseTs0_0000.nii.gz"))
    prediction = sitk.ReadImage(str(tmp_path / "predictions" / "caseTs0.nii.gz"))
    assert prediction.GetSpacing() == image.GetSpacing()
    assert prediction.GetSize() == image.GetSize()
    shell.inside("nnUNetv2_evaluate_folder", raw / "labelsTs", tmp_path / "predictions",
                 "-djfile", trained / "dataset.json", "-pfile", trained / "plans.json", "-np", "1")  # fmt: skip
    assert (tmp_path / "predictions" / "summary.json").is_file()

    archive = tmp_path / "model.zip"
    shell.inside("nnUNetv2_export_model_to_zip", "-d", "901", "-o", archive, "-c", "3d_fullres", "-f", "0",
                 "-tr", TRAINER, "--not_strict")  # fmt: skip
    elsewhere = Shell(tmp_path, {**workspace.environment, "nnUNet_results": str(tmp_path / "results")})
    (tmp_path / "results").mkdir()
    elsewhere.inside("nnUNetv2_install_pretrained_model_from_zip", archive)
    again = predict(elsewhere.inside, raw / "imagesTs", tmp_path / "again", processes=0)
    assert again.keys() == predicted.keys()
    for name, labels in predicted.items():
        assert np.array_equal(labels, again[name]), name
    without = Shell(tmp_path, {**elsewhere.environment, "nnUNet_extTrainer": str(tmp_path)})
    with pytest.raises(RuntimeError, match=f"Could not find requested nnunet trainer {TRAINER}"):
        predict(without.inside, raw / "imagesTs", tmp_path / "without", processes=0)


def test_python_of_the_readme(workspace, trained, tmp_path, monkeypatch, capsys):
    folder, slabs = re.findall(r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("MODEL_FOLDER").symlink_to(trained)
    Path("IMAGES").symlink_to(workspace.raw / "Dataset901_Plain" / "imagesTs")
    Path("PREDICTIONS").mkdir()
    exec(folder, {})
    assert {path.name for path in Path("PREDICTIONS").glob("*.nii.gz")} == {"caseTs0.nii.gz", "caseTs1.nii.gz"}
    exec(slabs.replace("CASE", "caseTs0"), {})
    assert "slice(" in capsys.readouterr().out


def test_plan_command(workspace, shell, trained, capsys):
    """Plans of their own, on the baseline's preprocessed data, then trained by name."""
    assert main(["plan", "-d", "901", "-tr", TRAINER]) == 0
    assert "preprocess with" not in capsys.readouterr().out
    plans = json.loads((workspace.preprocessed / "Dataset901_Plain" / "nnUNetMASAMPlans.json").read_text())
    baseline = json.loads((workspace.preprocessed / "Dataset901_Plain" / "nnUNetPlans.json").read_text())
    assert plans["plans_name"] == "nnUNetMASAMPlans"
    assert plans["configurations"].keys() == baseline["configurations"].keys()
    planned = plans["configurations"]["3d_fullres"]
    assert planned["data_identifier"] == "nnUNetPlans_3d_fullres"
    # what is planned in memory is what the command writes
    assert json.loads((trained / "plans.json").read_text())["configurations"]["3d_fullres"] == planned
    shell.inside("nnUNetv2_train", "901", "3d_fullres", "1", "-tr", TRAINER, "-p", "nnUNetMASAMPlans", "-device", "cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-tr", "nnUNetTrainer"), "nnUNetTrainer is not a MA-SAM trainer"),
        (("-tr", TRAINER, "-base", "nnUNetResEncUNetMPlans"), "-base: there are no plans"),
        (("-tr", "nnUNetTrainerMASAM_H", "-gpu_memory_target", "2"), "2 GB is too small"),
    ],
)
def test_plan_command_refuses_what_it_cannot_do(workspace, capsys, arguments, message):
    assert main(["plan", "-d", "901", *arguments]) == 2
    assert message in capsys.readouterr().err
