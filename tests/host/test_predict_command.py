"""``nnUNetv2_masam predict`` beside ``nnUNetv2_predict``: the same options, files and labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from tests.host.conftest import Shell, Workspace
from tests.host.test_trainer import make, nnUNetTrainer, nnUNetTrainerMASAM_testing
from tests.unit.cli.test_help import PARSERS, examples

MODELS = {
    "MA-SAM": (nnUNetTrainerMASAM_testing, "Dataset901_Plain", "3d_fullres"),
    "MA-SAM in 2D": (nnUNetTrainerMASAM_testing, "Dataset901_Plain", "2d"),
    "MA-SAM with regions": (nnUNetTrainerMASAM_testing, "Dataset902_Regions", "3d_fullres"),
    "nnU-Net": (nnUNetTrainer, "Dataset901_Plain", "3d_fullres"),
}


def untrained(workspace: Workspace, name: str) -> tuple[str, ...]:
    """A model folder as its trainer saves it before the first step; returns the options that name it."""
    trainer_class, dataset, configuration = MODELS[name]
    trainer = make(trainer_class, workspace, dataset, configuration)
    trainer.initialize()
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_untrained.pth"))
    for file, content in (("plans", trainer.plans_manager.plans), ("dataset", trainer.dataset_json)):
        (Path(trainer.output_folder_base) / f"{file}.json").write_text(json.dumps(content))
    words = ("-d", dataset[7:10], "-c", configuration, "-tr", trainer_class.__name__, "-f", "0")
    return (*words, "-chk", "checkpoint_untrained.pth", "-device", "cpu", "--disable_progress_bar")


@pytest.mark.parametrize("name", MODELS)
def test_the_same_as_the_stock_command(workspace: Workspace, shell: Shell, tmp_path, name):
    options = untrained(workspace, name)
    images = workspace.raw / MODELS[name][1] / "imagesTs"
    shared = ("-i", images, *options, "--disable_tta")
    shell.inside("nnUNetv2_predict", *shared, "-o", tmp_path / "theirs", "-npp", "0", "-nps", "0")
    assert main(["predict", *map(str, shared), "-o", str(tmp_path / "ours")]) == 0
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {p.name for p in (tmp_path / "theirs").iterdir()}
    for case in ("caseTs0", "caseTs1"):
        ours, theirs = (sitk.ReadImage(str(tmp_path / side / f"{case}.nii.gz")) for side in ("ours", "theirs"))
        for key in ours.GetMetaDataKeys():
            assert ours.GetMetaData(key) == theirs.GetMetaData(key)
        assert (sitk.GetArrayFromImage(ours) == sitk.GetArrayFromImage(theirs)).mean() >= 0.9999


def test_examples_of_the_help_text(workspace: Workspace, tmp_path, monkeypatch):
    """Run word for word, where dataset 4 is one that is there."""
    untrained(workspace, "nnU-Net")
    folder = workspace.results / "Dataset901_Plain" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    monkeypatch.chdir(tmp_path)
    Path("MODEL").mkdir()
    for name in ("plans.json", "dataset.json"):
        Path("MODEL", name).write_bytes((folder / name).read_bytes())
    Path("MODEL/fold_0").mkdir()
    checkpoint = (folder / "fold_0" / "checkpoint_untrained.pth").read_bytes()
    Path("MODEL/fold_0/checkpoint_final.pth").write_bytes(checkpoint)
    Path("imagesTs").symlink_to(workspace.raw / "Dataset901_Plain" / "imagesTs")
    monkeypatch.setattr("nnunetv2_masam.predict.loading.dataset_name", lambda dataset: "Dataset004_There")
    monkeypatch.setattr("nnunetv2_masam.predict.loading.folder_of", lambda variable: tmp_path)
    Path("Dataset004_There").mkdir()
    Path("Dataset004_There/nnUNetTrainer__nnUNetPlans__3d_fullres").symlink_to(tmp_path / "MODEL")
    own = [words for words in examples(PARSERS["nnUNetv2_masam predict"]) if words[0] == "predict"]
    assert len(own) == 2
    for words in own:
        assert main(words) == 0
    assert np.unique(sitk.GetArrayFromImage(sitk.ReadImage("predictions/caseTs0.nii.gz"))).size > 1
