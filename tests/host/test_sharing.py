"""A model as nnU-Net's zip file: installed elsewhere it predicts the same; without the plugin the error says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.host.conftest import CHECKOUT, TRAINERS

sys.path.append(str(TRAINERS))

from nnUNetTrainerMASAM_testing import nnUNetTrainerMASAM_testing

from tests.host.test_trainer import make

# the commands' functions, several in one process because importing nnU-Net takes longer than running them
STEPS = {
    "export": "nnunetv2.model_sharing.entry_points:export_pretrained_model_entry",
    "install": "nnunetv2.model_sharing.entry_points:install_from_zip_entry_point",
    "predict": "nnunetv2.inference.predict_from_raw_data:predict_entry_point",
}
RUN = """
import importlib, json, sys
if __name__ == "__main__":
    for name, arguments in json.loads(sys.argv[1]):
        module, function = name.split(":")
        sys.argv = [function, *arguments]
        getattr(importlib.import_module(module), function)()
"""


def run(steps: list[tuple[str, str]], results: Path, **environment: str) -> subprocess.CompletedProcess:
    script = results / "run.py"
    script.write_text(RUN)
    named = json.dumps([(STEPS[name], arguments.split()) for name, arguments in steps])
    variables = {**os.environ, "PYTHONPATH": str(CHECKOUT), "nnUNet_results": str(results), **environment}
    return subprocess.run(
        [sys.executable, str(script), named], env=variables, cwd=results, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def trained(workspace):
    trainer = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
    trainer.run_training()
    trainer.perform_actual_validation()
    return trainer


@pytest.mark.slow
def test_zip_file_predicts_the_same_elsewhere(trained, workspace, tmp_path):
    images = workspace.raw / "Dataset901_Plain" / "imagesTs"
    elsewhere = tmp_path / "results"
    elsewhere.mkdir()
    model = "-d 901 -c 3d_fullres -tr nnUNetTrainerMASAM_testing -f 0"
    predict = f"{model} -i {images} -device cpu -npp 0 -nps 0 --save_probabilities -o"
    archive = tmp_path / "model.zip"

    here = run([("export", f"{model} -o {archive}"), ("predict", f"{predict} {tmp_path / 'a'}")], workspace.results)
    assert here.returncode == 0, here.stderr
    no_data = {"nnUNet_raw": str(elsewhere), "nnUNet_preprocessed": str(elsewhere)}
    there = run([("install", str(archive)), ("predict", f"{predict} {tmp_path / 'b'}")], elsewhere, **no_data)
    assert there.returncode == 0, there.stderr
    for case in ("caseTs0", "caseTs1"):
        a, b = (np.load(tmp_path / part / f"{case}.npz")["probabilities"] for part in "ab")
        assert np.array_equal(a, b)
        a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / part / f"{case}.nii.gz"))) for part in "ab")
        assert np.array_equal(a, b)

    without = run([("predict", f"{predict} {tmp_path / 'c'}")], elsewhere, **no_data, nnUNet_extTrainer=str(tmp_path))
    assert without.returncode != 0
    assert "Could not find requested nnunet trainer nnUNetTrainerMASAM_testing" in without.stderr
