"""Operations by formula, against those that torch counts."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.counter import count_products
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning.cost import forward_flops, training_flops

SMALL = {"embed_dim": 96, "depth": 2, "num_heads": 3, "global_attn_indexes": [1]}


@pytest.mark.parametrize(
    ("arch_kwargs", "input_channels", "num_classes", "slices"),
    [
        ({"vit": "vit_b", "image_size": (512, 512)}, 1, 14, 5),
        ({"vit": SMALL, "image_size": (256, 240), "adapter_kernel": 5}, 4, 14, 5),
        ({"encoder": "timm:vit_tiny_patch16_224", "image_size": (224, 128)}, 1, 3, 4),
        ({"vit": SMALL, "image_size": (224, 128), "adapter_channels": 0, "fact_rank": 0}, 1, 2, 1),
        ({"vit": SMALL, "image_size": (128, 96), "fact_rank": 0, "lora_rank": 4, "decoder_doublings": 2}, 1, 3, 4),
    ],
)
def test_operations_are_those_that_torch_counts(arch_kwargs, input_channels, num_classes, slices):
    with torch.device("meta"):
        network = MASAM(input_channels, num_classes, **arch_kwargs)
    with FakeTensorMode(allow_non_fake_inputs=True):  # counts, computes nothing
        network = network.to_empty(device="cpu").train()
        patch = torch.rand(1, input_channels, slices, *arch_kwargs["image_size"])
        with count_products() as counter:
            network(patch)
    counted = forward_flops(arch_kwargs, slices, num_classes, input_channels)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_size_that_windows_do_not_fill_costs_no_more():
    """Per pixel, 512 (windows of 14, 14 and 4 tokens) is within 1 % of 448 (two whole windows)."""
    for vit in ("vit_b", "vit_l", "vit_h"):
        fitting, usual = (
            forward_flops({"vit": vit, "image_size": (side, side)}, 5, 3) / side**2 for side in (448, 512)
        )
        assert usual == pytest.approx(fitting, rel=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_checkpointing": True},
        {"trainable": "all"},
        {"trainable": "decoder", "fact_rank": 0, "adapter_channels": 0},
        {"lora_rank": 4, "fact_rank": 0, "adapter_channels": 0},
        {"encoder": "timm:vit_tiny_patch16_224"},
    ],
)
def test_operations_of_a_training_step_are_those_that_torch_counts(changes):
    arch_kwargs = {"image_size": (256, 256), **({} if "encoder" in changes else {"vit": "vit_b"}), **changes}
    with torch.device("meta"):
        network = MASAM(1, 14, **arch_kwargs)
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = network.to_empty(device="cpu").train()
        with count_products() as counter:
            network(torch.rand(1, 1, 5, 256, 256)).sum().backward()
    assert training_flops(arch_kwargs, 5, 14) == pytest.approx(counter.get_total_flops(), rel=0.03)
