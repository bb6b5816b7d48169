"""The network's contract: any size in, the same size out; what is trained is in ``test_contract.py``."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_masam.network import MASAM
from tests.conftest import TINY_VIT


def build(**kwargs) -> MASAM:
    arguments = {"vit": TINY_VIT, "image_size": (64, 64), "fact_rank": 4, "adapter_channels": 8, **kwargs}
    torch.manual_seed(0)
    return MASAM(arguments.pop("input_channels", 1), arguments.pop("num_classes", 3), **arguments)


@pytest.mark.parametrize(
    "shape", [(2, 1, 5, 64, 64), (1, 1, 3, 37, 91), (1, 1, 1, 7, 9), (2, 1, 20, 20), (1, 1, 4, 150, 70)]
)
def test_output_has_the_input_size(shape):
    logits = build()(torch.randn(shape))
    assert logits.shape == (shape[0], 3, *shape[2:])
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("image_size", [(16, 16), (64, 32), (48, 240)])
def test_rectangular_inputs(image_size):
    assert build(image_size=image_size)(torch.randn(1, 1, 2, 30, 20)).shape == (1, 3, 2, 30, 20)


@pytest.mark.parametrize("input_channels", [1, 2, 3, 4])
def test_any_number_of_channels(input_channels):
    network = build(input_channels=input_channels)
    assert network(torch.randn(1, input_channels, 2, 64, 64)).shape == (1, 3, 2, 64, 64)
    assert network.image_encoder.patch_embed.proj.weight.requires_grad == (input_channels not in (1, 3))


def test_2d_is_one_slice():
    network = build().eval()
    x = torch.randn(2, 1, 40, 30)
    torch.testing.assert_close(network(x), network(x[:, :, None])[:, :, 0])


def test_half_turn_turns_slices_and_logits():
    plain, turning = build().eval(), build(half_turn=True).eval()
    x = torch.randn(1, 1, 2, 64, 48)
    assert torch.equal(turning(x), plain(x.flip(-2, -1)).flip(-2, -1))
    assert not torch.allclose(turning(x), plain(x), rtol=1e-3)


def test_slices_see_their_neighbours_only_in_their_own_sample():
    network = build().eval()
    x = torch.randn(2, 1, 5, 64, 64)
    changed = x.clone()
    changed[0, :, 2] += 1.0
    difference = (network(changed) - network(x)).abs().amax(dim=(1, 3, 4))  # (B, D)
    assert (difference[0] > 0).all()  # two adapters in each of two blocks reach all five slices
    assert (difference[1] == 0).all()


def test_gradient_checkpointing_changes_no_gradient():
    x = torch.randn(2, 1, 3, 64, 64)
    gradients = []
    for gradient_checkpointing in (False, True):
        network = build(gradient_checkpointing=gradient_checkpointing, fact_dropout=0.0)
        network(x).square().mean().backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("prompt", ["none", "box"])
def test_prediction_decodes_in_parts(prompt, monkeypatch):
    monkeypatch.setattr("nnunetv2_masam.network.masam._SLICES_DECODED_AT_ONCE", 3)
    channels = 1 + (prompt == "box")
    network = build(input_channels=channels, prompt=prompt).eval()
    x = torch.rand(2, channels, 5, 50, 40)
    whole = network(x)
    with torch.no_grad():
        torch.testing.assert_close(network(x), whole)


@pytest.mark.parametrize("side", [64, 40, 90])
def test_bfloat16_on_a_cpu_is_for_prediction(side):
    network = build().eval()
    network.bf16_on_cpu = True
    x = torch.rand(1, 1, 2, side, side)
    exact = network(x)
    with torch.no_grad():
        rounded = network(x)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).norm() < 0.05 * exact.norm()


def test_boxes_change_the_result_only_for_a_network_built_with_them():
    network = build(input_channels=2, prompt="box").eval()
    x = torch.randn(1, 1, 3, 64, 64)
    boxes = torch.tensor([[[4.0, 5.0, 40.0, 50.0]] * 3])
    assert not torch.allclose(network(x, boxes), network(x, torch.full_like(boxes, torch.nan)))
    with pytest.raises(ValueError, match="prompt='box'"):
        build()(x, boxes)
    with pytest.raises(ValueError, match=r"expected \(1, 3, 4\)"):
        network(x, boxes[:, :2])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"image_size": (100, 64)}, "multiples of 16"),
        ({"image_size": (8, 8)}, "multiples of 16"),
        ({"vit": "vit_x"}, "expected one of vit_t, vit_b, vit_l, vit_h"),
        ({"vit": {"embed_dim": 32}}, r"expected \['depth'"),
        ({"vit": {**TINY_VIT, "num_heads": 5}}, r"embed_dim \(32\) must be divisible by num_heads \(5\)"),
        ({"vit": {**TINY_VIT, "global_attn_indexes": [2]}}, "outside the 2 blocks"),
        ({"prompt": "points"}, "expected one of none, box"),
        ({"trainable": "some"}, "expected one of masam, decoder, all"),
        ({"num_classes": 0}, "num_classes: got 0"),
        ({"fact_rank": -1}, "fact_rank: got -1"),
        ({"adapter_kernel": 4}, "adapter_kernel: got 4, expected an odd number"),
        ({"adapter_dilation": 0}, "adapter_dilation: got 0"),
    ],
)
def test_arguments_without_meaning_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match=r"expected \(B, 1, D, H, W\)"):
        build()(torch.randn(1, 2, 5, 64, 64))


def test_deep_supervision_is_refused():
    with pytest.raises(NotImplementedError, match="one output"):
        build(deep_supervision=True)
