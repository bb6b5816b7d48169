"""Slim, merged, folded and fitted models of every recipe and encoder."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_masam.cli import main
from nnunetv2_masam.sharing.pretrained import adapt_checkpoint
from nnunetv2_masam.weights import CheckpointError
from tests.conftest import TINY_STAGES, TINY_VIT
from tests.recipes import RECIPES, nnUNetTrainerMASAM, nnUNetTrainerSAMed, small_arch_kwargs
from tests.sam_file import write_sam_file
from tests.unit.sharing.models import arguments_of, bits, network_of, weights_of, write_model

SIZE = {"vit": TINY_VIT, "image_size": [48, 32]}
STAGES = {"vit": TINY_STAGES, "image_size": [32, 32], "fact_scale": 0.5}
MODELS = {
    **{recipe.__name__: {**SIZE, **small_arch_kwargs(recipe)} for recipe in RECIPES},
    "a wide adapter": {**SIZE, "fact_rank": 4, "fact_scale": 0.5, "adapter_channels": 8, "adapter_kernel": 5},
    "FacT in TinyViT": {**STAGES, "fact_rank": 3},
    "LoRA in TinyViT": {**STAGES, "fact_rank": 0, "lora_rank": 3},
}
# parts of TinyViT that no training changes, and the one that depends on the number of channels
UNCHANGED = {"image_encoder.layers.1.blocks.0.attn.qkv.weight", "image_encoder.layers.0.blocks.0.conv1.bn.running_var"}
SUMMED = "image_encoder.patch_embed.seq.0.c.weight"


@pytest.fixture(scope="module", params=MODELS)
def written(request, tmp_path_factory):
    """A model of one fold beside its SAM file; to be read only."""
    folder, arch_kwargs = tmp_path_factory.mktemp("written"), MODELS[request.param]
    sam = write_sam_file(folder / "sam.pth", arch_kwargs["vit"])
    return write_model(folder / "model", arch_kwargs, sam)


@pytest.fixture
def model(written, monkeypatch):
    """The same, with its SAM file in the cache."""
    monkeypatch.setenv("MASAM_CACHE", str(written.parent))
    return written


def test_slim_leaves_out_what_is_not_trained(model, tmp_path):
    slim, whole = tmp_path / "slim", tmp_path / "whole"
    assert main(["slim", str(model), "-o", str(slim)]) == 0
    network = network_of(model)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    left_out = set(weights_of(model)) - set(weights_of(slim))
    assert left_out <= frozen | {name for name, _ in network.named_buffers()}
    arch_kwargs = arguments_of(model)
    everything = arch_kwargs.get("trainable") == "all"
    assert any(name.startswith("image_encoder.") for name in left_out) != everything
    if arch_kwargs["vit"] == TINY_STAGES:
        assert left_out >= UNCHANGED
        assert SUMMED not in left_out
    assert main(["merge", str(slim), "-o", str(whole)]) == 0
    assert bits(weights_of(whole)) == bits(weights_of(model))


def test_folded_increments_give_the_same(model, tmp_path):
    folded = tmp_path / "folded"
    assert main(["merge", str(model), "-o", str(folded), "--fold"]) == 0
    assert not any(".fact." in name or ".lora." in name for name in weights_of(folded))
    arch_kwargs = arguments_of(folded)
    assert arch_kwargs.get("fact_rank") == arch_kwargs.get("lora_rank", 0) == 0
    x = torch.rand(1, 1, 4, 48, 32)
    with torch.enable_grad():  # the path that does not merge by itself
        expected, got = network_of(model)(x).detach(), network_of(folded)(x).detach()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    before, after = weights_of(model), weights_of(folded)
    has_increments = any(".attn.fact." in name or ".attn.lora." in name for name in before)
    projections = [name for name in before if name.endswith(".attn.qkv.weight")]
    assert projections
    assert all(torch.equal(before[name], after[name]) != has_increments for name in projections)


def test_lora_is_fitted_to_another_image_size_and_to_no_other_recipe(tmp_path):
    sam = write_sam_file(tmp_path / "sam.pth", TINY_VIT)
    model = write_model(tmp_path / "model", MODELS["nnUNetTrainerSAMed"], sam, trainer_name="nnUNetTrainerSAMed")
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    size = {"vit": TINY_VIT, "image_size": [64, 64]}
    report = adapt_checkpoint(checkpoint, tmp_path / "fitted.pth", 1, {**size, **small_arch_kwargs(nnUNetTrainerSAMed)})
    assert "image_encoder.blocks.1.attn.lora.b_v.weight" in report.loaded
    with pytest.raises(CheckpointError, match=r"fact_rank, lora_rank, adapter_channels and decoder_doublings"):
        adapt_checkpoint(checkpoint, tmp_path / "other.pth", 1, {**size, **small_arch_kwargs(nnUNetTrainerMASAM)})
