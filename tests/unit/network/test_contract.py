"""What each recipe's network promises: what is trained, what training changes, what can be taken out or merged in."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.increments import enabled_increments, merge_increments
from nnunetv2_masam.training.trainer import MASAMTrainer
from nnunetv2_masam.weights import load_sam_checkpoint
from tests.conftest import TINY_VIT
from tests.recipes import RECIPES, TRAINED, part_of_encoder, small_network
from tests.sam_file import write_sam_file

X = torch.randn(1, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def build(recipe, **changes) -> MASAM:
    torch.manual_seed(0)
    return small_network(recipe, **changes)


@dataclass
class Trained:
    """A network after three steps, and what it was before; to be read only."""

    recipe: type[MASAMTrainer]
    network: MASAM
    weights_before: dict[str, torch.Tensor]
    logits_before: torch.Tensor


@pytest.fixture(scope="module", params=RECIPES, ids=lambda recipe: recipe.__name__)
def trained(request) -> Trained:
    network = build(request.param)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    logits = network.eval()(X).detach()
    network.train()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        network(X).square().mean().backward()
        optimizer.step()
    return Trained(request.param, network.eval(), weights, logits)


def without_additions(recipe, weights: dict[str, torch.Tensor]) -> MASAM:
    """A network that never had FacT, LoRA or adapters, with the weights that both have."""
    plain = build(recipe, fact_rank=0, adapter_channels=0, lora_rank=0)
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain.eval()


def test_trains_what_its_name_says(trained):
    network, parts = trained.network, TRAINED[trained.recipe]
    encoder = dict(network.image_encoder.named_parameters())
    assert {part_of_encoder(name) for name, p in encoder.items() if p.requires_grad} == parts
    for name, parameter in encoder.items():
        assert parameter.requires_grad == (part_of_encoder(name) in parts), name
    assert all(p.requires_grad for p in network.mask_decoder.parameters())
    assert [name for name, p in network.prompt_encoder.named_parameters() if p.requires_grad] == [
        "no_mask_embed.weight"
    ]
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        # the softmax cancels a key's bias: its gradient is zero but for rounding
        if not name.endswith("k_proj.bias"):
            assert torch.equal(parameter, trained.weights_before[name]) != parameter.requires_grad, name


def test_three_steps_change_the_result(trained):
    before = trained.logits_before
    assert (trained.network(X) - before).abs().max() > 1e-2 * before.abs().max()


def test_without_its_additions_it_is_the_network_that_never_had_them(trained):
    recipe, network = trained.recipe, trained.network
    low_rank_only = "adapter" not in {part_of_encoder(name) for name, _ in network.image_encoder.named_parameters()}
    # increments start at zero, adapters do not
    at_start = without_additions(recipe, trained.weights_before)(X)
    assert torch.allclose(trained.logits_before, at_start, atol=1e-6) == low_rank_only
    expected, logits = without_additions(recipe, network.state_dict())(X), network(X)
    added = not torch.allclose(logits, expected, atol=1e-6)
    assert added == bool(TRAINED[recipe] - {"sam"})
    with network.adapters_disabled():
        assert torch.equal(network(X), expected)
        with torch.no_grad():
            torch.testing.assert_close(network(X), expected)
    assert torch.equal(network(X), logits)


def test_merged_equals_added(trained):
    network = trained.network
    added = network(X).detach()
    with torch.no_grad():
        merged = network(X)
        fact = network.image_encoder.fact
        projections = [block.attn for block in network.image_encoder.blocks]
        increments = [enabled_increments(fact, attention.fact, attention.lora) for attention in projections]
        changed = [
            not torch.equal(merge_increments(attention.qkv.weight, added_here), attention.qkv.weight)
            for attention, added_here in zip(projections, increments, strict=True)
        ]
    torch.testing.assert_close(merged, added, rtol=1e-4, atol=1e-6)
    assert any(changed) == bool(TRAINED[trained.recipe] & {"fact", "lora"})


def test_saved_loaded_and_saved_again_is_the_same(trained):
    file = io.BytesIO()
    torch.save(trained.network.state_dict(), file)
    file.seek(0)
    torch.manual_seed(9)
    other = small_network(trained.recipe)
    other.load_state_dict(torch.load(file, weights_only=True))
    saved, again = trained.network.state_dict(), other.state_dict()
    assert list(saved) == list(again)
    for name, tensor in saved.items():
        assert torch.equal(tensor, again[name]), name


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__)
def test_sam_brings_all_but_what_is_added(recipe, tmp_path):
    network = build(recipe)
    report = load_sam_checkpoint(network, write_sam_file(tmp_path / "sam.pth", TINY_VIT))
    upscaling = {name for name in report.new if "output_upscaling" in name}
    new = {name for name in report.new if ".seg_layers." not in name} - upscaling
    encoder = {f"image_encoder.{name}" for name, _ in network.image_encoder.named_parameters()}
    assert new == {name for name in encoder if part_of_encoder(name) != "sam"}
    assert bool(upscaling) == (recipe.rules.arch_kwargs.get("decoder_doublings", 4) > 2)
    assert not report.refused
