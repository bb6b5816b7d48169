"""The ways to compute a block, the switch between them, and what needs the plain one: hooks, quantised layers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.attention import decomposed_attention
from nnunetv2_masam.network.attention_by_parts import attention_by_parts
from nnunetv2_masam.network.block import PLAIN, Computation, choose_computation
from nnunetv2_masam.network.sam_parts import _modeling as sam
from tests.conftest import TINY_VIT


def build(**kwargs) -> MASAM:
    torch.manual_seed(0)
    arguments = {"image_size": (240, 48), "fact_rank": 4, "adapter_channels": 8, "fact_dropout": 0.0, **kwargs}
    network = MASAM(1, 3, vit=TINY_VIT, **arguments)  # 15 x 3 tokens: padded windows
    for name, parameter in sorted(network.named_parameters()):
        if not name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    return network


def volume(batch: int = 1, depth: int = 3) -> torch.Tensor:
    return torch.rand(batch, 1, depth, 240, 48, generator=torch.Generator().manual_seed(1))


def outputs_and_gradients(network: MASAM, dtype: torch.dtype) -> list[torch.Tensor]:
    network.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = network(volume())
    logits.square().mean().backward()
    return [logits.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("trainable", ["masam", "all"])
@pytest.mark.parametrize(
    "changes",
    [{"adapter_dilation": 2, "adapter_kernel": 5}, {"lora_rank": 2, "fact_rank": 0}, {"gradient_checkpointing": True}],
)
def test_values_and_gradients_equal_the_plain_form(dtype, trainable, changes):
    network = build(trainable=trainable, **changes)
    results = []
    for kernels in ("plain", "fast"):
        network.kernels = kernels
        results.append(outputs_and_gradients(network, dtype))
    tolerance = 1e-4 if dtype == torch.float32 else 0.2  # the two attentions round their scores apart
    rounding = 1e-3 * max(plain.norm() for plain in results[0][1:])  # that of gradients much smaller than others
    for plain, fast in zip(*results, strict=True):
        assert (plain - fast).norm() <= tolerance * (plain.norm() + rounding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("depth", [1, 3])
def test_prediction_equals_the_plain_form_and_keeps_the_callers_input(depth, dtype, monkeypatch):
    monkeypatch.setattr("nnunetv2_masam.network.block._NUMBERS_AT_ONCE", 4 * 15 * 3 * 32)  # 4 slices of 6
    network, x = build().eval(), volume(2, depth)
    kept = x.clone()
    with torch.no_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            network.kernels = "plain"
            expected = network(x)
            network.kernels = "fast"
            found = network(x)
        tolerance = 1e-4 if dtype == torch.float32 else 0.05
        assert (found - expected).norm() <= tolerance * expected.norm()
        tokens = network.image_encoder.patch_embed(x[:, :, 0])
        before = tokens.clone()
        network.image_encoder.blocks[0](tokens, network.image_encoder.fact, 2, Computation(by_slices=True))
    assert torch.equal(x, kept)
    assert torch.equal(tokens, before)


def test_the_switch():
    network = build()
    blocks, cpu, meta = network.image_encoder.blocks, torch.empty(1), torch.empty(1, device="meta")

    def chosen(x: torch.Tensor) -> Computation:
        return choose_computation(network.kernels, blocks, x)

    assert network.kernels == "auto"
    assert chosen(cpu) == Computation(attention_by_parts, recompute=True)
    assert chosen(meta) == Computation(decomposed_attention, recompute=True)
    with torch.no_grad():
        assert chosen(cpu) == Computation(attention_by_parts, by_slices=True)
        assert chosen(meta) == PLAIN
    network.kernels = "fast"
    assert chosen(meta) == Computation(attention_by_parts, recompute=True)
    network.kernels = "plain"
    assert chosen(cpu) == chosen(meta) == PLAIN
    with pytest.raises(ValueError, match="kernels: got 'quick', expected one of auto, plain, fast"):
        network.kernels = "quick"


@pytest.mark.parametrize("autograd", [True, False])
def test_hooks_see_every_layer_that_has_parameters(autograd):
    network = build(lora_rank=2).eval()
    called = set()
    with torch.set_grad_enabled(autograd):
        expected = network(volume())
        seen = []
        for name, module in network.image_encoder.named_modules():
            if list(module.parameters(recurse=False)):
                module.register_forward_hook(lambda *_, name=name: called.add(name))
        network.image_encoder.blocks[0].register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
        torch.testing.assert_close(network(volume()), expected, rtol=1e-4, atol=1e-5)
    with_parameters = {n for n, m in network.image_encoder.named_modules() if list(m.parameters(recurse=False))}
    assert called == with_parameters
    assert not torch.equal(*seen[0])  # the input of a block is not overwritten


def test_a_parametrized_layer_takes_part():
    class Doubled(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return 2 * weight

    network = build().eval()
    doubled = build().eval()
    for block in network.image_encoder.blocks:
        parametrize.register_parametrization(block.attn.qkv, "weight", Doubled())
        parametrize.register_parametrization(block.adapter_1.conv, "weight", Doubled())
    with torch.no_grad():
        for block in doubled.image_encoder.blocks:
            block.attn.qkv.weight.mul_(2)
            block.adapter_1.conv.weight.mul_(2)
        torch.testing.assert_close(network(volume()), doubled(volume()), rtol=1e-4, atol=1e-5)


def test_dynamic_quantisation():
    network = build().eval()
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    with torch.no_grad():
        exact, rounded = network(volume()), quantised(volume())
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).norm() < 0.3 * exact.norm()


def test_without_adapters_it_is_sams_own_encoder():
    """Bit by bit the encoder that never had any, and SAM's own modules within rounding."""
    network = build(lora_rank=2, image_size=(240, 240)).eval()
    never = build(image_size=(240, 240), fact_rank=0, adapter_channels=0).eval()
    weights = network.state_dict()
    never.load_state_dict({name: weights[name] for name in never.state_dict()})
    theirs = sam.ImageEncoderViT(
        img_size=240, patch_size=16, mlp_ratio=4, norm_layer=partial(nn.LayerNorm, eps=1e-6), qkv_bias=True,
        use_rel_pos=True, window_size=14, out_chans=256, in_chans=1, **TINY_VIT,
    )  # fmt: skip
    theirs.load_state_dict(never.image_encoder.state_dict())
    x = torch.rand(3, 1, 240, 240)
    with torch.no_grad():
        expected = never.image_encoder(x, 3)
        with network.adapters_disabled():
            assert torch.equal(network.image_encoder(x, 3), expected)
        assert not torch.allclose(network.image_encoder(x, 3), expected)
        torch.testing.assert_close(theirs(x), expected, rtol=1e-4, atol=1e-5)


def test_adapters_name_their_own_parameters():
    network = build(lora_rank=2)
    names = {name for name, _ in network.adapter_parameters()}
    sams = {name for name, _ in build(fact_rank=0, adapter_channels=0).named_parameters()}
    assert names
    assert names == {name for name, _ in network.named_parameters()} - sams
