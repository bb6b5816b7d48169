"""Slim, merged, folded and fitted models of every recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nnunetv2_masam.cli import main
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.sharing.pretrained import adapt_checkpoint
from nnunetv2_masam.weights import CheckpointError, load_sam_checkpoint
from tests.conftest import TINY_VIT
from tests.plans import plans_with
from tests.recipes import RECIPES, nnUNetTrainerMASAM, nnUNetTrainerSAMed, small_arch_kwargs
from tests.sam_file import write_sam_file

every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.__name__ for recipe in RECIPES])


@pytest.fixture(autouse=True)
def no_other_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MASAM_CHECKPOINT", raising=False)


@pytest.fixture
def sam(tmp_path) -> Path:
    return write_sam_file(tmp_path / "sam.pth", TINY_VIT)


def write_model(folder: Path, recipe, sam: Path) -> Path:
    """A model folder of one fold, after a training that changed all that is trained."""
    arch_kwargs = {"vit": TINY_VIT, "image_size": [48, 32], **small_arch_kwargs(recipe)}
    network = MASAM(1, 3, **arch_kwargs)
    load_sam_checkpoint(network, sam)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    architecture = {"network_class_name": "nnunetv2_masam.network.MASAM", "arch_kwargs": arch_kwargs}
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans_with(architecture)))
    (folder / "dataset.json").write_text("{}")
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": {},
        "init_args": {"configuration": "3d_fullres"},
        "trainer_name": recipe.__name__,
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)["network_weights"]


def network_of(folder: Path) -> MASAM:
    plans = json.loads((folder / "plans.json").read_text())
    network = MASAM(1, 3, **plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"])
    network.load_state_dict(weights_of(folder))
    return network.eval()


@every_recipe
def test_slim_leaves_out_what_is_not_trained(recipe, sam, tmp_path, capsys):
    model, slim, whole = write_model(tmp_path / "model", recipe, sam), tmp_path / "slim", tmp_path / "whole"
    assert main(["slim", str(model), "-o", str(slim), "--sam", str(sam)]) == 0
    network = network_of(model)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    left_out = set(weights_of(model)) - set(weights_of(slim))
    assert left_out <= frozen | {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"}
    everything = recipe.rules.arch_kwargs.get("trainable") == "all"
    assert any(name.startswith("image_encoder.") for name in left_out) != everything
    assert main(["merge", str(slim), "-o", str(whole), "--sam", str(sam)]) == 0
    original, restored = weights_of(model), weights_of(whole)
    assert set(original) == set(restored)
    assert all(torch.equal(tensor, restored[name]) for name, tensor in original.items())


@every_recipe
def test_folded_increments_give_the_same(recipe, sam, tmp_path):
    model, folded = write_model(tmp_path / "model", recipe, sam), tmp_path / "folded"
    assert main(["merge", str(model), "-o", str(folded), "--fold"]) == 0
    assert not any(".fact." in name or ".lora." in name for name in weights_of(folded))
    x = torch.rand(1, 1, 4, 48, 32)
    with torch.enable_grad():  # the path that does not merge by itself
        expected, got = network_of(model)(x).detach(), network_of(folded)(x).detach()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    qkv = "image_encoder.blocks.0.attn.qkv.weight"
    has_increments = any(".attn.fact." in name or ".attn.lora." in name for name in weights_of(model))
    assert torch.equal(weights_of(model)[qkv], weights_of(folded)[qkv]) != has_increments


def test_lora_is_fitted_to_another_image_size_and_to_no_other_recipe(sam, tmp_path):
    checkpoint = write_model(tmp_path / "model", nnUNetTrainerSAMed, sam) / "fold_0" / "checkpoint_final.pth"
    size = {"vit": TINY_VIT, "image_size": [64, 64]}
    report = adapt_checkpoint(checkpoint, tmp_path / "fitted.pth", 1, {**size, **small_arch_kwargs(nnUNetTrainerSAMed)})
    assert "image_encoder.blocks.1.attn.lora.b_v.weight" in report.loaded
    with pytest.raises(CheckpointError, match=r"fact_rank, lora_rank, adapter_channels and decoder_doublings"):
        adapt_checkpoint(checkpoint, tmp_path / "other.pth", 1, {**size, **small_arch_kwargs(nnUNetTrainerMASAM)})
