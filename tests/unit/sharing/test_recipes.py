"""Fitted models of recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.sharing.pretrained import adapt_checkpoint
from nnunetv2_masam.weights import CheckpointError, load_sam_checkpoint
from tests.conftest import TINY_VIT
from tests.plans import plans_with
from tests.recipes import nnUNetTrainerMASAM, nnUNetTrainerSAMed, small_arch_kwargs
from tests.sam_file import write_sam_file


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


def test_lora_is_fitted_to_another_image_size_and_to_no_other_recipe(sam, tmp_path):
    checkpoint = write_model(tmp_path / "model", nnUNetTrainerSAMed, sam) / "fold_0" / "checkpoint_final.pth"
    size = {"vit": TINY_VIT, "image_size": [64, 64]}
    report = adapt_checkpoint(checkpoint, tmp_path / "fitted.pth", 1, {**size, **small_arch_kwargs(nnUNetTrainerSAMed)})
    assert "image_encoder.blocks.1.attn.lora.b_v.weight" in report.loaded
    with pytest.raises(CheckpointError, match=r"fact_rank, lora_rank, adapter_channels and decoder_doublings"):
        adapt_checkpoint(checkpoint, tmp_path / "other.pth", 1, {**size, **small_arch_kwargs(nnUNetTrainerMASAM)})
