"""Model folders of a hierarchical encoder: slim, whole again, and with FacT or LoRA folded in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nnunetv2_masam.cli import main
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.weights import identify, load_sam_checkpoint
from nnunetv2_masam.weights.provenance import KEY
from nnunetv2_masam.weights.slim import MARKER
from tests.plans import plans_with

VIT = {
    "widths": [8, 16, 16, 24],
    "depths": [1, 1, 1, 1],
    "num_heads": [2, 4, 3],
    "windows": [7, 7, 7],
    "merge_strides": [2, 2, 1],
    "patch_stride": 1,
}
SIZES: dict[str, Any] = {"vit": VIT, "image_size": [32, 32]}


@pytest.fixture(params=["fact_rank", "lora_rank"])
def architecture(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**SIZES, "fact_rank": 0, "fact_scale": 0.5, request.param: 3}


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: dict[str, Any]) -> Path:
    """As nnU-Net leaves it, after a training that changed all that is trained; its SAM file is in the cache."""
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MASAM_CHECKPOINT", raising=False)
    torch.manual_seed(0)
    (tmp_path / "cache").mkdir()
    sam = tmp_path / "cache" / "small.pth"
    torch.save(MASAM(3, 3, **SIZES, fact_rank=0, adapter_channels=0).state_dict(), sam)
    network = MASAM(1, 3, **architecture)
    load_sam_checkpoint(network, sam)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    init_args = {"configuration": "3d_fullres", KEY: identify(sam).as_dict()}
    checkpoint = {"network_weights": network.state_dict(), "init_args": init_args, "trainer_name": "any"}
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    described = {"network_class_name": "nnunetv2_masam.network.MASAM", "arch_kwargs": architecture}
    (folder / "plans.json").write_text(json.dumps(plans_with(described)))
    (folder / "dataset.json").write_text("{}")
    return folder


def weights_of(folder: Path) -> dict[str, Any]:
    weights: dict[str, Any] = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    return weights["network_weights"]


def test_slim_and_whole_again(model_folder: Path, tmp_path: Path) -> None:
    assert main(["slim", str(model_folder), "-o", str(tmp_path / "slim")]) == 0
    left_out = set(weights_of(tmp_path / "slim")[MARKER]["tensors"])
    assert "image_encoder.layers.2.blocks.0.attn.qkv.weight" in left_out
    assert "image_encoder.layers.0.blocks.0.conv1.bn.running_var" in left_out
    assert "image_encoder.patch_embed.seq.0.c.weight" not in left_out  # summed over the channels
    assert main(["merge", str(tmp_path / "slim"), "-o", str(tmp_path / "whole")]) == 0
    before, after = weights_of(model_folder), weights_of(tmp_path / "whole")
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_fold(model_folder: Path, tmp_path: Path, architecture: dict[str, Any]) -> None:
    assert main(["merge", str(model_folder), "-o", str(tmp_path / "folded"), "--fold"]) == 0
    plans = json.loads((tmp_path / "folded" / "plans.json").read_text())
    arch_kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    before, after = MASAM(1, 3, **architecture).eval(), MASAM(1, 3, **arch_kwargs).eval()
    before.load_state_dict(weights_of(model_folder))
    after.load_state_dict(weights_of(tmp_path / "folded"))
    x = torch.rand(1, 1, 3, 32, 32)
    with torch.no_grad():
        expected, got = before(x), after(x)
        with before.adapters_disabled():
            assert not torch.allclose(before(x), expected, rtol=1e-3)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
