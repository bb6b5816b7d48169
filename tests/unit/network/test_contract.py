"""What each recipe's network promises: what is trained, what training changes, what can be taken out or merged in."""

from __future__ import annotations

import io

import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.increments import enabled_increments, merge_increments
from nnunetv2_masam.weights import load_sam_checkpoint
from tests.conftest import TINY_VIT
from tests.recipes import RECIPES, TRAINED, part_of_encoder, small_network
from tests.sam_file import write_sam_file

X = torch.randn(1, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.__name__ for recipe in RECIPES])


def build(recipe, **changes) -> MASAM:
    torch.manual_seed(0)
    return small_network(recipe, **changes)


def train(network: MASAM, steps: int = 3) -> None:
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        network(X).square().mean().backward()
        optimizer.step()


def without_additions(recipe, network: MASAM) -> MASAM:
    """A network that never had FacT, LoRA or adapters, with the weights that both have."""
    plain = build(recipe, fact_rank=0, adapter_channels=0, lora_rank=0)
    weights = network.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain.eval()


@every_recipe
def test_trains_what_its_name_says(recipe):
    network = build(recipe)
    before = {name: p.clone() for name, p in network.named_parameters()}
    encoder = dict(network.image_encoder.named_parameters())
    assert {part_of_encoder(name) for name, p in encoder.items() if p.requires_grad} == TRAINED[recipe]
    for name, parameter in encoder.items():
        assert parameter.requires_grad == (part_of_encoder(name) in TRAINED[recipe]), name
    assert all(p.requires_grad for p in network.mask_decoder.parameters())
    assert [name for name, p in network.prompt_encoder.named_parameters() if p.requires_grad] == [
        "no_mask_embed.weight"
    ]
    train(network)
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        # the softmax cancels a key's bias: its gradient is zero but for rounding
        if not name.endswith("k_proj.bias"):
            assert torch.equal(parameter, before[name]) != parameter.requires_grad, name


@every_recipe
def test_three_steps_change_the_result(recipe):
    network = build(recipe)
    before = network.eval()(X).detach()
    train(network.train())
    change = (network.eval()(X) - before).abs().max()
    assert change > 1e-2 * before.abs().max()


@every_recipe
def test_without_its_additions_it_is_the_network_that_never_had_them(recipe):
    network = build(recipe).eval()
    low_rank_only = "adapter" not in {part_of_encoder(name) for name, _ in network.image_encoder.named_parameters()}
    # increments start at zero, adapters do not
    assert torch.allclose(network(X), without_additions(recipe, network)(X), atol=1e-6) == low_rank_only
    train(network.train())
    expected = without_additions(recipe, network)(X)
    network.eval()
    added = not torch.allclose(network(X), expected, atol=1e-6)
    assert added == bool(TRAINED[recipe] - {"sam"})
    again = network(X)
    with network.adapters_disabled():
        assert torch.equal(network(X), expected)
        with torch.no_grad():
            torch.testing.assert_close(network(X), expected)
    assert torch.equal(network(X), again)


@every_recipe
def test_merged_equals_added(recipe):
    network = build(recipe)
    train(network)
    network.eval()
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
    assert any(changed) == bool(TRAINED[recipe] & {"fact", "lora"})


@every_recipe
def test_saved_loaded_and_saved_again_is_the_same(recipe):
    network = build(recipe)
    train(network, steps=1)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    torch.manual_seed(9)
    other = small_network(recipe)
    other.load_state_dict(torch.load(file, weights_only=True))
    saved, again = network.state_dict(), other.state_dict()
    assert list(saved) == list(again)
    for name, tensor in saved.items():
        assert torch.equal(tensor, again[name]), name


@every_recipe
def test_sam_brings_all_but_what_is_added(recipe, tmp_path):
    network = build(recipe)
    report = load_sam_checkpoint(network, write_sam_file(tmp_path / "sam.pth", TINY_VIT))
    upscaling = {name for name in report.new if "output_upscaling" in name}
    new = {name for name in report.new if ".seg_layers." not in name} - upscaling
    encoder = {f"image_encoder.{name}" for name, _ in network.image_encoder.named_parameters()}
    assert new == {name for name in encoder if part_of_encoder(name) != "sam"}
    assert bool(upscaling) == (recipe.rules.arch_kwargs.get("decoder_doublings", 4) > 2)
    assert not report.refused
