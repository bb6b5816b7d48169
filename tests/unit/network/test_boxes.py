"""The box channel: exact coordinates, and stacks with and without a box in one batch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.boxes import boxes_of_channel
from tests.conftest import TINY_VIT


def build(**kwargs) -> MASAM:
    torch.manual_seed(0)
    arguments = {"vit": TINY_VIT, "image_size": (64, 64), "fact_rank": 4, "adapter_channels": 8, **kwargs}
    return MASAM(2, 3, prompt="box", **arguments)


def channel_with(*boxes: tuple[int, int, int, int] | None, shape: tuple[int, int, int] = (3, 32, 40)) -> torch.Tensor:
    """(B, D, H, W): x0, y0, x1, y1 in voxels, first and last inside, in the middle slice of a sample; None: no box."""
    channel = torch.zeros(len(boxes), *shape)
    for sample, box in zip(channel, boxes, strict=True):
        if box is not None:
            x0, y0, x1, y1 = box
            sample[shape[0] // 2, y0 : y1 + 1, x0 : x1 + 1] = 1
    return channel


def sams_box_of_mask(mask: torch.Tensor) -> torch.Tensor:
    """SAM's own bounding box of a mask, from the installed package past its ``__init__``."""
    package = importlib.util.find_spec("segment_anything")
    file = Path(package.origin).parent / "utils" / "amg.py"
    spec = importlib.util.spec_from_file_location("sam_amg", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.batched_mask_to_box(mask)


def test_boxes_are_those_that_sam_gives_a_mask():
    channel = channel_with((3, 5, 20, 9), (0, 0, 39, 31), (7, 7, 7, 7))
    expected = sams_box_of_mask(channel.any(dim=1)).float()
    assert expected.tolist()[0] == [3, 5, 20, 9]
    boxes = boxes_of_channel(channel, (32, 40))
    assert boxes.shape == (3, 3, 4)
    assert torch.equal(boxes, expected[:, None].expand(-1, 3, -1))


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [
        ((32, 40), (4, 6, 11, 13)),
        ((64, 160), (16, 12, 47, 27)),  # a voxel is two pixels high and four wide
        ((16, 20), (2, 3, 5, 6)),
        ((8, 5), (0.5, 1.5, 0.5, 2.5)),  # 8 voxels on one pixel: never reversed
    ],
)
def test_coordinates_follow_the_resizing(image_size, expected):
    boxes = boxes_of_channel(channel_with((4, 6, 11, 13)), image_size)
    torch.testing.assert_close(boxes[0, 0], torch.tensor(expected, dtype=torch.float32))


def test_a_stack_has_one_box_around_all_that_its_slices_mark():
    channel = torch.zeros(1, 4, 20, 20)
    channel[0, 0, 2:5, 3:6] = 1
    channel[0, 3, 8:12, 1:4] = 1
    assert torch.equal(boxes_of_channel(channel, (20, 20)), torch.tensor([1.0, 2.0, 5.0, 11.0]).expand(1, 4, 4))


def test_soft_edges_count_from_one_half():
    channel = torch.zeros(1, 1, 16, 16)
    channel[0, 0, 4:8, 4:8] = 1
    channel[0, 0, 3, 4:8] = 0.5
    channel[0, 0, 8, 4:8] = 0.51
    assert boxes_of_channel(channel, (16, 16)).flatten().tolist() == [4, 4, 7, 8]


def test_no_box_is_nan():
    assert boxes_of_channel(torch.zeros(2, 3, 8, 8), (16, 16)).isnan().all()


@pytest.mark.parametrize("half_turn", [False, True])
def test_a_channel_is_the_box_that_it_marks(half_turn):
    network = build(half_turn=half_turn).eval()
    images = torch.randn(2, 1, 3, 32, 32)
    channel = channel_with((4, 6, 11, 13), (1, 2, 30, 20), shape=(3, 32, 32))
    boxes = torch.tensor([[8.0, 12, 23, 27], [2, 4, 61, 41]])
    if half_turn:  # coordinates are of what the network sees
        boxes = 63 - boxes[:, [2, 3, 0, 1]]
    expected = network(images, boxes[:, None].expand(-1, 3, -1))
    assert torch.equal(network(torch.cat([images, channel[:, None]], dim=1)), expected)


def test_stacks_with_and_without_a_box_in_one_batch():
    network, plain = build().eval(), MASAM(1, 3, vit=TINY_VIT, image_size=(64, 64), fact_rank=4, adapter_channels=8)
    plain.load_state_dict(network.state_dict())
    plain.eval()
    images = torch.randn(4, 1, 3, 32, 32)
    channel = channel_with(None, (4, 6, 11, 13), None, (1, 2, 30, 20), shape=(3, 32, 32))
    logits = network(torch.cat([images, channel[:, None]], dim=1))
    for sample in range(4):
        alone = network(torch.cat([images[sample], channel[sample, None]])[None])
        torch.testing.assert_close(logits[sample], alone[0], rtol=1e-5, atol=1e-6)
    without = [0, 2]
    torch.testing.assert_close(logits[without], plain(images[without]), rtol=1e-5, atol=1e-6)
    with_box = [1, 3]
    assert not torch.allclose(logits[with_box], plain(images[with_box]), rtol=1e-2)


def test_without_any_box_the_result_is_the_prompt_free_one_and_the_corners_get_a_zero_gradient():
    network, plain = build(), MASAM(1, 3, vit=TINY_VIT, image_size=(64, 64), fact_rank=4, adapter_channels=8)
    plain.load_state_dict(network.state_dict())
    images = torch.randn(1, 1, 3, 32, 32)
    logits = network.eval()(torch.cat([images, torch.zeros_like(images)], dim=1))
    assert torch.equal(logits, plain.eval()(images))
    logits.square().mean().backward()
    for corner in (2, 3):
        gradient = network.prompt_encoder.point_embeddings[corner].weight.grad
        assert gradient is not None
        assert not gradient.any()


def test_gradients_reach_the_corners_through_a_mixed_batch():
    network = build()
    channel = channel_with(None, (4, 6, 11, 13), shape=(3, 32, 32))
    network(torch.cat([torch.randn(2, 1, 3, 32, 32), channel[:, None]], dim=1)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert network.prompt_encoder.point_embeddings[2].weight.grad.any()


def test_the_box_channel_is_no_image():
    network = build()
    assert network.image_encoder.patch_embed.proj.in_channels == 1
    assert not network.image_encoder.patch_embed.proj.weight.requires_grad
    with pytest.raises(ValueError, match="expected at least 2 with prompt='box'"):
        MASAM(1, 3, vit=TINY_VIT, prompt="box")
    with pytest.raises(ValueError, match=r"expected \(B, 2, D, H, W\)"):
        network(torch.randn(1, 1, 3, 32, 32))


def test_2d():
    network = build().eval()
    x = torch.cat([torch.randn(2, 1, 32, 32), channel_with((4, 6, 11, 13), None, shape=(1, 32, 32))], dim=1)
    torch.testing.assert_close(network(x), network(x[:, :, None])[:, :, 0])


@pytest.mark.slow
def test_the_network_learns_to_follow_the_box():
    """Two equal squares, of which only the boxed one is labelled: the image alone cannot tell them apart."""
    torch.manual_seed(0)
    vit = {"embed_dim": 64, "depth": 2, "num_heads": 2, "global_attn_indexes": [0, 1]}
    network = MASAM(2, 2, vit=vit, image_size=(64, 64), fact_rank=0, adapter_channels=16, prompt="box", trainable="all")
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.02, 1.0, total_iters=50)
    for _ in range(450):
        x, truth = two_squares(8)
        logits = network(x)
        foreground = logits.softmax(1)[:, 1]
        dice = 2 * (foreground * truth).sum() / (foreground.sum() + truth.sum())
        loss = torch.nn.functional.cross_entropy(logits, truth) + 1 - dice
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warmup.step()
    x, truth = two_squares(32)
    with torch.no_grad():
        predicted = network(x).argmax(1)
    assert 2 * (predicted * truth).sum() / (predicted.sum() + truth.sum()) > 0.75  # 0.67: both, or one by chance


def two_squares(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and box (B, 2, 1, 64, 64), labels (B, 1, 64, 64)."""
    x = torch.randn(samples, 2, 1, 64, 64) * 0.2
    x[:, 1] = 0
    truth = torch.zeros(samples, 1, 64, 64, dtype=torch.long)
    for sample, label in zip(x, truth, strict=True):
        centres = torch.zeros(2, 2, dtype=torch.long)
        while (centres[0] - centres[1]).abs().max() < 16:
            centres = torch.randint(8, 52, (2, 2))
        for row, column in centres.tolist():
            sample[0, 0, row - 4 : row + 5, column - 4 : column + 5] += 1
        row, column = centres[0].tolist()
        sample[1, 0, row - 5 : row + 6, column - 5 : column + 6] = 1
        label[0, row - 4 : row + 5, column - 4 : column + 5] = 1
    return x, truth
