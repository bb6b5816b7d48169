"""The hierarchical image encoder: what is trained, what stays as it was, and the range of its input."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import nn

from nnunetv2_masam.architecture import complete_arguments, resolve_vit
from nnunetv2_masam.network import MASAM, TINY_VIT_PRESETS, TinyViTSize, block
from tests.recipes import part_of_encoder

# the depth of the last stage differs from the others', and the two stages before it share their width
SIZE = TinyViTSize(
    widths=(8, 16, 16, 32),
    depths=(1, 1, 1, 2),
    num_heads=(2, 2, 4),
    windows=(3, 4, 3),
    merge_strides=(2, 2, 1),
    patch_stride=1,
    input_range=(-2.0, 2.0),
)
X = torch.randn(2, 1, 3, 16, 20, generator=torch.Generator().manual_seed(0))


def build(channels: int = 1, **changes: Any) -> MASAM:
    torch.manual_seed(0)
    arguments = {"vit": SIZE, "image_size": (16, 20), "fact_rank": 4, "fact_dropout": 0.0, **changes}
    network = MASAM(channels, 2, **arguments)
    for name, buffer in network.image_encoder.named_buffers():  # statistics that those of a batch would not equal
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    for name, parameter in network.adapter_parameters():  # as if it had been trained
        if name.endswith("up.weight"):
            nn.init.normal_(parameter, std=0.1)
    return network


def step(network: MASAM) -> None:
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    network(X).square().mean().backward()
    optimizer.step()


def buffers(network: MASAM) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in network.image_encoder.named_buffers()}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({}, {"fact", "adapter"}),
        ({"fact_rank": 0, "lora_rank": 2}, {"lora", "adapter"}),
        ({"adapter_channels": 0}, {"fact"}),
        ({"trainable": "decoder"}, set()),
        ({"trainable": "all"}, {"fact", "adapter", "sam"}),
        ({"gradient_checkpointing": True}, {"fact", "adapter"}),
    ],
)
def test_a_step_trains_what_is_to_be_trained_and_its_statistics(arguments, parts):
    network = build(**arguments).train()
    named = dict(network.image_encoder.named_parameters())
    assert {part_of_encoder(name) for name, parameter in named.items() if parameter.requires_grad} == parts
    before = buffers(network)
    step(network)
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    after = buffers(network)
    for name, buffer in before.items():
        assert torch.equal(after[name], buffer) == ("sam" not in parts), name


def test_a_frozen_network_computes_the_same_in_both_modes():
    network = build()
    with torch.no_grad():
        torch.testing.assert_close(network.train()(X), network.eval()(X))


def test_training_starts_at_the_pretrained_network():
    torch.manual_seed(0)
    network = MASAM(1, 2, vit=SIZE, image_size=(16, 20)).eval()
    with torch.no_grad():
        adapted = network(X)
        with network.adapters_disabled():
            torch.testing.assert_close(adapted, network(X), rtol=0, atol=0)


def test_factors_are_shared_by_the_blocks_of_one_width():
    network = build()
    assert set(network.image_encoder.fact) == {"16", "32"}
    names = [name for name, _ in network.adapter_parameters()]
    assert sum(name.endswith("attn.fact.q.weight") for name in names) == 4
    widths = {parameter.shape[0] for name, parameter in network.adapter_parameters() if name.endswith("down.weight")}
    assert widths == {8, 16}  # half of each block's


def test_slices_see_each_other_only_in_the_adapters():
    changed = X.clone()
    changed[:, :, 2] += 1
    for channels, apart in ((None, False), (0, True)):
        network = build(adapter_channels=channels).eval()
        with torch.no_grad():
            same = torch.equal(network(changed)[:, :, 0], network(X)[:, :, 0])
        assert same == apart


def test_one_channel_is_three_equal_ones():
    three, one = build(3).eval(), build(1).eval()
    weights = three.state_dict()
    name = "image_encoder.patch_embed.seq.0.c.weight"
    one.load_state_dict({**weights, name: weights[name].sum(dim=1, keepdim=True)})
    with torch.no_grad():
        torch.testing.assert_close(one(X), three(X.expand(-1, 3, -1, -1, -1)))


def test_two_channels_train_the_patch_embedding():
    network = build(2)
    assert all(parameter.requires_grad for parameter in network.image_encoder.patch_embed.parameters())
    assert not any(parameter.requires_grad for parameter in network.image_encoder.layers[0].parameters())


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        network = build(gradient_checkpointing=checkpointing).train()
        network(X).square().mean().backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_checkpointing_updates_the_statistics_once():
    found = []
    for checkpointing in (False, True):
        network = build(gradient_checkpointing=checkpointing, trainable="all").train()
        loss = network(X).square().mean()
        loss.backward(retain_graph=True)
        loss.backward()
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        found.append(buffers(network) | gradients)
    torch.testing.assert_close(*found)


def test_statistics_of_a_batch_are_those_of_all_slices_without_gradients_too(monkeypatch):
    monkeypatch.setattr(block, "_NUMBERS_AT_ONCE", 1)
    found = []
    for gradients in (True, False):
        network = build(trainable="all").train()
        with torch.set_grad_enabled(gradients):
            logits = network(X).detach()
        found.append({**buffers(network), "logits": logits})
    torch.testing.assert_close(*found)


def test_a_state_loads_strictly_and_gives_the_same():
    network = build()
    step(network.train())
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    loaded = build(fact_dropout=0.5)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(loaded.eval()(X), network.eval()(X))


@pytest.mark.parametrize("size", [(16, 20), (23, 9), (40, 40)])
@pytest.mark.parametrize("patch_stride", [1, 4])
def test_logits_have_the_size_of_the_volume(size, patch_stride):
    vit = {**asdict(SIZE), "patch_stride": patch_stride}
    network = build(vit=vit, image_size=(32, 48)).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, 2, *size)).shape == (1, 2, 2, *size)


@pytest.mark.parametrize(("vit", "doublings"), [("lite_medsam", 2), ("mobile_sam", 4), ("vit_b", 4)])
def test_the_decoder_doubles_tokens_to_pixels(vit, doublings):
    arguments = complete_arguments({"vit": vit})
    assert arguments["decoder_doublings"] == doublings
    assert resolve_vit(vit).stride == 2**doublings


def test_values_reach_the_encoder_in_its_range():
    seen = []
    network = build().eval()
    network.image_encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = torch.tensor([-9.0, -2.0, 0.0, 1.0, 2.0, 9.0]).repeat_interleave(10).expand(1, 1, 1, 16, 60)[..., ::3]
    with torch.no_grad():
        network(x)
        build(input_range=None).eval()
    assert seen[0].unique().tolist() == [0.0, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(("asked", "used"), [("auto", (-2.0, 2.0)), (None, None), ([0, 1.5], (0.0, 1.5))])
def test_plans_decide_the_range(asked, used):
    assert build(input_range=asked).input_range == used


def test_sams_vit_takes_values_as_they_are():
    vit = {"embed_dim": 32, "depth": 1, "num_heads": 2, "global_attn_indexes": [0]}
    assert MASAM(1, 2, vit=vit, image_size=(16, 16), adapter_channels=4).input_range is None


def test_boxes_are_no_image():
    network = build(2, prompt="box")
    x = torch.cat([X, torch.zeros_like(X)], dim=1)
    x[:, 1, :, 4:9, 5:11] = 1
    network(x).sum().backward()
    assert network.prompt_encoder.point_embeddings[2].weight.grad is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vit": {**asdict(SIZE), "depths": (1, 1)}}, "depths .* has 2 numbers, expected 4 with 4 widths"),
        ({"vit": {**asdict(SIZE), "patch_stride": 2}}, "patch_stride 2, expected 1 or 4"),
        ({"vit": {**asdict(SIZE), "num_heads": (3, 2, 4)}}, r"width 16 .* divisible by its num_heads \(3\)"),
        ({"vit": {**asdict(SIZE), "mlp_dim": 4}}, "got the fields .*, expected .*widths"),
        ({"vit": "lite_medsm"}, "expected one of .*lite_medsam, mobile_sam"),
        ({"image_size": (18, 20)}, "multiples of 4, a token's side"),
        ({"decoder_doublings": 3}, "expected 1 to 2 with tokens of 4 pixels"),
        ({"input_range": (1, 1)}, "expected 'auto', None, or two increasing numbers"),
        ({"input_range": "wide"}, "expected 'auto', None, or two increasing numbers"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_presets_are_the_published_sizes():
    assert {name: size.stride for name, size in TINY_VIT_PRESETS.items()} == {"lite_medsam": 4, "mobile_sam": 16}
    with torch.device("meta"):
        network = MASAM(3, 2, vit="lite_medsam", image_size=(64, 64), fact_rank=0, adapter_channels=0)
    assert sum(parameter.numel() for parameter in network.image_encoder.parameters()) == 5_726_740
