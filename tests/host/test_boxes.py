"""Box prompts from the raw dataset to a prediction, through stock nnU-Net commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from nnunetv2_masam.evaluation.prompted import Prompt, find_prompt
from tests.host.conftest import TRAINERS, Workspace
from tests.host.test_trainer import make, replaced_by
from tests.nnunet import plan_and_preprocess

sys.path.append(str(TRAINERS))
sys.path.append(str(Path(__file__).resolve().parents[2] / "trainers"))

from nnUNetTrainerMASAM_box import nnUNetTrainerMASAM_box, nnUNetTrainerMASAM_box_tiny
from nnUNetTrainerMASAM_testing import nnUNetTrainerMASAM_testing, nnUNetTrainerMASAM_testing_box

DATASET = "Dataset904_Boxes"
TRAINER = "nnUNetTrainerMASAM_testing_box"


@pytest.fixture(scope="module")
def boxed(workspace: Workspace) -> str:
    """The plain dataset with boxes, preprocessed."""
    assert main(["boxes", "dataset", "-d", "901", "-o", DATASET, "--label", "core"]) == 0
    plan_and_preprocess([904], ("3d_fullres",), verify=True)
    return DATASET


def test_train_and_predict(workspace, shell, boxed, tmp_path):
    arguments = ("904", "3d_fullres", "0", "-tr", TRAINER, "-device", "cpu")
    assert "Mean Validation Dice" in shell.inside("nnUNetv2_train", *arguments)
    model = workspace.results / boxed / f"{TRAINER}__nnUNetPlans__3d_fullres"
    plans = json.loads((model / "plans.json").read_text())["configurations"]["3d_fullres"]
    assert plans["architecture"]["arch_kwargs"]["prompt"] == "box"
    assert plans["normalization_schemes"] == ["ZScoreNormalization", "NoNormalization"]
    assert find_prompt(model, json.loads((model / "dataset.json").read_text()), True) == Prompt("reference", 0.0)

    raw, inputs, output = workspace.raw / "Dataset901_Plain", tmp_path / "inputs", tmp_path / "predictions"
    images = ["-i", str(raw / "imagesTs"), "--references", str(raw / "labelsTs")]
    assert main(["boxes", "oracle", *images, "-o", str(inputs), "--label", "core", "--margin-mm", "2"]) == 0
    shell.inside("nnUNetv2_predict", "-i", inputs, "-o", output, "-d", "904", "-c", "3d_fullres", "-f", "0",
                 "-tr", TRAINER, "-device", "cpu", "-npp", "0", "-nps", "0")  # fmt: skip
    for case in ("caseTs0", "caseTs1"):
        image = sitk.ReadImage(str(raw / "imagesTs" / f"{case}_0000.nii.gz"))
        assert sitk.ReadImage(str(output / f"{case}.nii.gz")).GetSize() == image.GetSize()
    dataset_json = json.loads((output / "dataset.json").read_text())
    assert find_prompt(output, dataset_json, False) == Prompt("reference", 2.0)


def test_batches_carry_a_binary_box_over_the_labels(workspace, boxed, monkeypatch):
    monkeypatch.setattr(nnUNetTrainerMASAM_testing_box, "jitter_mm", 0.0)
    trainer = make(nnUNetTrainerMASAM_testing_box, workspace, boxed)
    trainer.initialize()
    assert trainer.masam.input_channels == 2
    assert trainer.masam.image_channels == 1
    trainer.dataloader_train, _ = trainer.get_dataloaders()
    covered = total = 0
    for _ in range(10):
        batch = next(trainer.dataloader_train)
        box, core = batch["data"][:, 1], batch["target"][:, 0] == 2
        assert set(box.unique().tolist()) <= {0.0, 1.0}
        assert set(batch["data"][:, 0].unique().tolist()) != {0.0, 1.0}
        covered, total = covered + int((core & (box == 1)).sum()), total + int(core.sum())
    assert total > 0
    assert covered > 0.98 * total


def test_jitter_is_in_voxels_of_the_plans(workspace, boxed):
    trainer = make(nnUNetTrainerMASAM_testing_box, workspace, boxed)
    transforms = trainer.get_training_transforms((4, 40, 36), (0, 0), None, (), True)
    spacing_mm = trainer.configuration_manager.spacing
    assert transforms.transforms[-1].jitter_vox == pytest.approx([2.0 / size for size in spacing_mm[1:]])


@pytest.mark.parametrize("trainer", [nnUNetTrainerMASAM_box, nnUNetTrainerMASAM_box_tiny])
def test_recipes_build_networks_with_a_box_channel(workspace, boxed, trainer):
    import torch

    made = make(trainer, workspace, boxed)
    with torch.device("meta"):
        network = trainer.build_network_architecture(made.plans_manager, made.configuration_manager, 2, 3, False)
    assert (network.prompt, network.image_channels) == ("box", 1)


def test_prediction_takes_stacks_as_deep_as_those_of_training(workspace, boxed):
    made = make(nnUNetTrainerMASAM_testing_box, workspace, boxed)
    for configuration in (made.configuration_manager, made.plans_manager.get_configuration("3d_fullres")):
        assert configuration.patch_size[0] == nnUNetTrainerMASAM_testing_box.rules.slices


def test_what_cannot_be_trained_is_refused(workspace, boxed):
    with pytest.raises(ValueError, match="Write such a dataset with nnUNetv2_masam boxes"):
        make(nnUNetTrainerMASAM_testing_box, workspace, "Dataset901_Plain")

    def cascade(plans, dataset_json):
        plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}

    with pytest.raises(NotImplementedError, match="appends the first one's labels after the box"):
        make(nnUNetTrainerMASAM_testing_box, workspace, boxed, "3d_cascade_fullres", edit=cascade)

    planned = make(nnUNetTrainerMASAM_testing, workspace, boxed).plans_manager.plans
    with pytest.raises(ValueError, match="prompt 'none'; nnUNetTrainerMASAM_testing_box trains prompt 'box'"):
        make(nnUNetTrainerMASAM_testing_box, workspace, boxed, edit=replaced_by(planned))
