"""The trainers under nnU-Net's own training loop, in this process."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_masam.network import MASAM
from tests.host.conftest import TRAINERS, Workspace

sys.path.append(str(TRAINERS))
sys.path.append(str(Path(__file__).resolve().parents[2] / "trainers"))

from nnUNetTrainerMASAM import nnUNetTrainerMASAM
from nnUNetTrainerMASAM_paper import nnUNetTrainerMASAM_paper
from nnUNetTrainerMASAM_testing import nnUNetTrainerMASAM_testing

CPU = torch.device("cpu")


def make(
    trainer,
    workspace: Workspace,
    dataset: str,
    configuration="3d_fullres",
    plans_name="nnUNetPlans",
    edit=None,
    **extra,
):
    """A trainer as nnU-Net's command line makes it."""
    folder = workspace.preprocessed / dataset
    plans = json.loads((folder / f"{plans_name}.json").read_text())
    plans["continue_training"] = extra.pop("continue_training", False)
    dataset_json = json.loads((folder / "dataset.json").read_text())
    if edit is not None:
        edit(plans, dataset_json)
    return trainer(plans, configuration, 0, dataset_json, CPU)


def replaced_by(planned: dict, **changes):
    """An ``edit`` to other plans, with changes to a configuration."""

    def edit(plans, dataset_json):
        plans.update(copy.deepcopy(planned))
        plans["continue_training"] = False
        plans["configurations"]["3d_fullres"].update(changes)

    return edit


def test_a_training_takes_the_threads_that_its_job_may_use(workspace, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(7)  # as nnU-Net's command does on a machine with seven CPUs
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    try:
        make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("dataset", "configuration"),
    [("Dataset901_Plain", "2d"), ("Dataset902_Regions", "3d_fullres"), ("Dataset903_Ignore", "3d_fullres")],
)
def test_trains_and_validates(workspace, dataset, configuration):
    trainer = make(nnUNetTrainerMASAM_testing, workspace, dataset, configuration)
    trainer.run_training()
    trainer.perform_actual_validation()
    losses = trainer.logger.get_value("train_losses", step=None)
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert (Path(trainer.output_folder) / "validation" / "summary.json").is_file()
    cost = json.loads((Path(trainer.output_folder) / "masam_cost.json").read_text())
    assert cost["trained_parameters"] < cost["parameters"]  # prompts of kinds that are never given
    assert cost["peak_memory_bytes"] > 4 * cost["parameters"]
    stored = json.loads((Path(trainer.output_folder_base) / "plans.json").read_text())
    architecture = stored["configurations"][configuration]["architecture"]
    assert architecture["network_class_name"] == "nnunetv2_masam.network.MASAM"
    assert stored["configurations"][configuration]["data_identifier"] == f"nnUNetPlans_{configuration}"


def test_cascade(workspace):
    """The previous stage's labels arrive as further channels."""

    def edit(plans, dataset_json):
        configurations = plans["configurations"]
        configurations["3d_lowres"] = {**configurations["3d_fullres"], "next_stage": "3d_cascade_fullres"}
        configurations["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}

    first = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain", "3d_lowres", edit=edit)
    first.run_training()
    first.perform_actual_validation()
    second = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain", "3d_cascade_fullres", edit=edit)
    predicted = Path(second.folder_with_segs_from_previous_stage)
    # fold 0 predicts its own validation cases only; the others' predictions come from the other folds
    source = next(predicted.glob("*"))
    for case in (workspace.preprocessed / "Dataset901_Plain" / "nnUNetPlans_3d_fullres").glob("*.pkl"):
        target = predicted / f"{case.stem}{source.suffix}"
        if not target.exists():
            target.write_bytes(source.read_bytes())
    assert second.is_cascaded
    second.run_training()
    assert second.masam.input_channels == 3
    assert second.masam.image_encoder.patch_embed.proj.weight.requires_grad


def test_resumes_to_the_same_state(workspace):
    trainer = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
    trainer.on_train_start()
    batch = next(trainer.dataloader_train)
    trainer.on_train_epoch_start()
    for _ in range(3):
        trainer.train_step(batch)
    checkpoint = str(Path(trainer.output_folder) / "checkpoint_test.pth")
    trainer.save_checkpoint(checkpoint)
    trainer.current_epoch += 1
    trainer.on_train_epoch_start()

    resumed = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain", continue_training=True)
    resumed.load_checkpoint(checkpoint)
    assert resumed.current_epoch == 1
    resumed.on_train_epoch_start()
    assert resumed.steps_taken == trainer.steps_taken == 3
    for t in (trainer, resumed):
        t.network.eval()  # without dropout, the next step is the same
        t.train_step(batch)
    assert resumed.optimizer.param_groups[0]["lr"] == trainer.optimizer.param_groups[0]["lr"]
    for name, parameter in trainer.network.named_parameters():
        assert torch.equal(parameter, dict(resumed.network.named_parameters())[name]), name


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "labels",
            {"background": 0, "ball": 1, "box": 2, "new": 3},
            r"with the labels .*, and .* new: 3 now\. Restore",
        ),
        (
            "channel_names",
            {"0": "MR", "1": "CT"},
            "with the channels 0: .*, and dataset.json has 0: MR, 1: CT now",
        ),
        (None, None, "size mismatch"),  # another reason, as torch says it
    ],
)
def test_a_dataset_that_changed_since_is_named(workspace, key, value, message):
    trainer = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
    trainer.on_train_start()
    checkpoint = Path(trainer.output_folder) / "checkpoint_before.pth"
    trainer.save_checkpoint(str(checkpoint))
    trainer.fold_lock.release()

    def edit(plans, dataset_json):
        if key is not None:
            dataset_json[key] = value

    if key is None:
        content = torch.load(checkpoint, weights_only=False)
        name = "image_encoder.pos_embed"
        content["network_weights"][name] = content["network_weights"][name][:, :1]
        torch.save(content, checkpoint)
    changed = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain", edit=edit, continue_training=True)
    with pytest.raises((ValueError, RuntimeError), match=message):
        changed.load_checkpoint(str(checkpoint))


def test_training_draws_few_slices_and_prediction_takes_many(workspace):
    trainer = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
    tile = trainer.plans_manager.get_configuration("3d_fullres").patch_size
    patch = trainer.configuration_manager.patch_size
    assert tile[0] > patch[0] == nnUNetTrainerMASAM_testing.rules.slices
    assert list(tile[1:]) == list(patch[1:])
    seen = []

    def validate(self, save_probabilities=False):
        seen.append(list(self.configuration_manager.patch_size))

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", validate)
        trainer.perform_actual_validation()
    assert seen == [list(tile)]
    assert trainer.configuration_manager.patch_size == patch


def test_accumulated_gradients_equal_one_batch(workspace):
    """With sample-wise Dice, two micro-batches of one sample give the gradients of one batch of two."""
    gradients = []
    for micro_batch_size in (2, 1):
        trainer = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
        configuration = trainer.configuration_manager.configuration
        configuration.update(micro_batch_size=micro_batch_size, batch_dice=False)
        torch.manual_seed(0)
        trainer.initialize()
        trainer.network.eval()
        generator = torch.Generator().manual_seed(1)
        patch = configuration["patch_size"]
        batch = {
            "data": torch.randn(2, 1, *patch, generator=generator),
            "target": torch.randint(0, 3, (2, 1, *patch), generator=generator),
        }
        trainer.optimizer.step = lambda: None
        trainer.gradient_clip = None
        result = trainer.train_step(batch)
        gradients.append({name: p.grad.clone() for name, p in trainer.network.named_parameters() if p.grad is not None})
        assert np.isfinite(result["loss"])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6)


def test_pretrained_weights_leave_out_the_class_layers(workspace, capsys):
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    source = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
    source.initialize()
    checkpoint = str(Path(source.output_folder) / "pretrained.pth")
    source.save_checkpoint(checkpoint)

    def one_class(plans, dataset_json):
        dataset_json["labels"] = {"background": 0, "ball": 1}

    target = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain", edit=one_class)
    target.initialize()
    tokens = target.masam.mask_decoder.seg_layers.mask_tokens.weight.clone()
    load_pretrained_weights(target.network, checkpoint)
    assert torch.equal(target.masam.image_encoder.pos_embed, source.masam.image_encoder.pos_embed)
    assert torch.equal(target.masam.mask_decoder.seg_layers.mask_tokens.weight, tokens)
    assert "depend on the classes" in capsys.readouterr().out


def test_missing_sam_weights_stop_before_anything_is_built(workspace):
    trainer = make(nnUNetTrainerMASAM, workspace, "Dataset901_Plain")
    with pytest.raises(FileNotFoundError, match=r"sam_vit_b_01ec64\.pth") as error:
        trainer.on_train_start()
    assert "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912" in str(error.value)
    assert "MASAM_CHECKPOINT" in str(error.value)
    assert not trainer.was_initialized


def test_paper_refuses_regions(workspace):
    with pytest.raises(NotImplementedError, match="has regions"):
        make(nnUNetTrainerMASAM_paper, workspace, "Dataset902_Regions")


def test_paper_plans_its_own_input(workspace):
    trainer = make(nnUNetTrainerMASAM_paper, workspace, "Dataset901_Plain")
    configuration = trainer.configuration_manager.configuration
    assert configuration["architecture"]["arch_kwargs"]["image_size"] == [512, 512]
    assert configuration["batch_size"] == 24
    assert trainer.num_epochs * trainer.num_iterations_per_epoch == 40_000


def test_missing_configuration_is_named(workspace):
    with pytest.raises(ValueError, match="'3d_lowres' is not in the plans 'nnUNetPlans', which have 2d, 3d_fullres"):
        make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain", "3d_lowres")


def test_plans_for_another_vit_are_refused(workspace):
    planned = make(nnUNetTrainerMASAM, workspace, "Dataset901_Plain").plans_manager.plans
    with pytest.raises(ValueError, match="are for the ViT 'vit_b'"):
        make(nnUNetTrainerMASAM_paper, workspace, "Dataset901_Plain", edit=replaced_by(planned))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch_kwargs": {"adapter_kernel": 5}}, "have adapter_kernel 3; .* trains adapter_kernel 5"),
        ({"slices": 9}, "have slices 5; .* trains slices 9"),
    ],
)
def test_plans_without_what_a_recipe_is_named_for_are_refused(workspace, changes, message):
    planned = make(nnUNetTrainerMASAM, workspace, "Dataset901_Plain").plans_manager.plans

    class Changed(nnUNetTrainerMASAM):
        rules = replace(nnUNetTrainerMASAM.rules, **changes)

    with pytest.raises(ValueError, match=message):
        make(Changed, workspace, "Dataset901_Plain", edit=replaced_by(planned))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training_patch_size": [3, 40, 40]}, "Set the first number of training_patch_size"),
        ({"training_patch_size": [5, 8, 40]}, "smaller than one token of 16 x 16"),
        ({"training_patch_size": [5, 48, 40], "patch_size": [9, 40, 40]}, "in plane both must be the same"),
        ({"micro_batch_size": 0}, "micro_batch_size"),
        ({"training_patch_size": [5, 40.5, 40]}, r"training_patch_size: \[5, 40.5, 40\], expected integers"),
    ],
)
def test_edited_plans_without_meaning_are_refused(workspace, change, message):
    planned = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain").plans_manager.plans
    with pytest.raises(ValueError, match=message):
        make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain", edit=replaced_by(planned, **change))


def test_prediction_rebuilds_the_network(workspace):
    """nnU-Net builds the network from the plans beside the model, without weights of SAM's and without a connection."""
    trainer = make(nnUNetTrainerMASAM, workspace, "Dataset902_Regions")
    heads = trainer.label_manager.num_segmentation_heads
    with torch.device("meta"):
        network = nnUNetTrainerMASAM.build_network_architecture(
            trainer.plans_manager, trainer.configuration_manager, 2, heads, enable_deep_supervision=False
        )
    assert isinstance(network, MASAM)
    assert (network.input_channels, network.num_classes) == (2, 2)
