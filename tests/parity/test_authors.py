"""Held against what the MA-SAM authors' code computes: to 1e-5 of the largest value, in float32."""

from __future__ import annotations

import re

import pytest
import torch

from nnunetv2_masam.network.boxes import boxes_of_channel
from nnunetv2_masam.training.loss import MASAMLoss
from nnunetv2_masam.training.schedule import warmup_poly_lr
from nnunetv2_masam.weights.load import masam_name

RELATIVE = 1e-5


def assert_near(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal to ``RELATIVE`` of the largest value."""
    assert ours.shape == theirs.shape
    difference = (ours.detach() - theirs).abs().max() / theirs.abs().max()
    assert difference < RELATIVE, f"largest difference is {difference:.1e} of the largest value"


def our_name(theirs: str) -> str:
    """The network's name of a parameter that ``named_parameters`` of their model lists."""
    theirs = theirs.removeprefix("sam.")
    theirs = re.sub(r"^FacT([uv])\.", r"image_encoder.FacT\1.", theirs)
    theirs = re.sub(
        r"^image_encoder\.ImageEncoderViT\.blocks\.(\d+)\.Block\.attn\.Attention\.qkv\.([qv])_FacTs\.weight$",
        lambda match: f"{match[2]}_FacTs_{int(match[1]):03d}",
        theirs,
    )
    return masam_name(theirs)


@pytest.mark.parametrize("input_channels", [1, 3])
def test_embedding(golden, input_channels):
    network = golden.network(input_channels).eval()
    slices = golden.image(input_channels).transpose(1, 2).flatten(0, 1)
    with torch.no_grad():
        assert_near(network.image_encoder(slices, golden.config["slices"]), golden["embedding"])


@pytest.mark.parametrize("input_channels", [1, 3])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_logits(golden, input_channels, mode):
    network = golden.network(input_channels).train(mode == "train")
    logits = network(golden.image(input_channels), golden.boxes()) if mode == "train" else None
    if logits is None:  # FacT merged into the projection
        with torch.no_grad():
            logits = network(golden.image(input_channels), golden.boxes())
    assert_near(logits.transpose(1, 2).flatten(0, 1), golden["logits"])


def test_loss_and_gradients(golden):
    network = golden.network(1).train()
    logits = network(golden.image(1), golden.boxes()).transpose(1, 2).flatten(0, 1)
    labels = golden["label"].long()
    cross_entropy, dice = MASAMLoss().terms(logits, labels)
    loss = MASAMLoss()(logits, labels[:, None])
    assert_near(loss, golden["loss"].float())
    assert_near(cross_entropy, golden["loss_ce"].float())
    assert_near(dice, golden["loss_dice"].float())

    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    theirs = {
        our_name(str(n)): norm for n, norm in zip(golden.arrays["grad_names"], golden.arrays["grad_norms"], strict=True)
    }
    assert gradients.keys() == theirs.keys()
    largest = max(theirs.values())
    for name, norm in theirs.items():
        assert abs(gradients[name].norm().item() - norm) < RELATIVE * largest, name
        assert gradients[name].norm().item() == pytest.approx(norm, rel=1e-3, abs=1e-6 * largest), name
    assert_near(gradients["image_encoder.fact.u.weight"], golden["grad_FacTu"])
    assert_near(gradients["image_encoder.blocks.0.adapter_1.conv.weight"][:16], golden["grad_adapter_conv_block0"])


def test_resized_tables(golden):
    encoder = golden.network(3).image_encoder
    assert_near(encoder.pos_embed, golden["pos_embed"])
    last_global = int(golden.config["global_attn_indexes"].split(",")[-1])
    assert_near(encoder.blocks[last_global].attn.rel_pos_h, golden["rel_pos_h_last_global"])


def test_learning_rates(golden):
    for step, rate in zip(golden.arrays["lr_iterations"], golden.arrays["lr_values"], strict=True):
        ours = warmup_poly_lr(int(step), base_lr=8e-4, warmup_steps=250, total_steps=40000, exponent=7)
        assert ours == pytest.approx(rate, rel=1e-9), step


def test_nothing_trainable_without_a_gradient(golden):
    """What the authors leave trainable though nothing uses it is frozen or absent here."""
    network = golden.network(1)
    ours = {name for name, p in network.named_parameters() if p.requires_grad}
    assert not ours & {our_name(str(name)) for name in golden.arrays["trainable_without_grad"]}


def test_a_box_channel_gives_their_logits(golden):
    """From the filled box of a stack to the same logits as from its coordinates, which the authors' code takes.

    Their coordinates are fractions of pixels, a channel has whole ones, so the box is rounded for both.
    """
    if not golden.config["boxes"]:
        pytest.skip("golden data without boxes")
    boxes = golden.boxes().round()
    channel = torch.zeros_like(golden.image(1))
    for sample, (x0, y0, x1, y1) in zip(channel, boxes[:, 0].int().tolist(), strict=True):
        sample[:, :, y0 : y1 + 1, x0 : x1 + 1] = 1
    side = golden.config["image_size"]
    assert torch.equal(boxes_of_channel(channel[:, 0], (side, side)), boxes)
    network = golden.network(1).eval()
    with torch.no_grad():
        logits = network(torch.cat([golden.image(1), channel], dim=1))
        assert torch.equal(logits, network(golden.image(1), boxes))
    # half a pixel moves the logits little, no box much
    near = (logits.transpose(1, 2).flatten(0, 1) - golden["logits"]).abs().max()
    with torch.no_grad():
        unprompted = network(golden.image(1), torch.full_like(boxes, torch.nan))
    far = (unprompted.transpose(1, 2).flatten(0, 1) - golden["logits"]).abs().max()
    assert near < 0.1 * far
