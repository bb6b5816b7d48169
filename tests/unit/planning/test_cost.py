"""Operations that torch counts, against a count by hand and against the CPU's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning.cost import count_operations, count_products

SMALL = {"embed_dim": 96, "depth": 2, "num_heads": 3, "global_attn_indexes": [1]}


@pytest.mark.parametrize(
    "changes",
    [
        {"vit": SMALL},
        {"vit": SMALL, "trainable": "all"},
        {"vit": SMALL, "adapter_channels": 0, "fact_rank": 0, "trainable": "decoder"},
        {"encoder": "timm:vit_tiny_patch16_224"},
    ],
)
def test_operations_are_those_of_a_real_step(changes):
    arch_kwargs = {"image_size": (64, 96), "adapter_channels": 16, **changes}
    network = MASAM(1, 3, **arch_kwargs).train()
    network.kernels = "plain"
    with count_products() as forward:
        logits = network(torch.rand(1, 1, 4, 64, 96))
    with count_products() as backward:
        logits.sum().backward()
    counted = count_operations(arch_kwargs, 4, 3)
    assert counted.forward == pytest.approx(forward.get_total_flops(), rel=0.01)
    # what some kernels recompute depends on the device
    assert counted.backward == pytest.approx(backward.get_total_flops(), rel=0.05)


def test_frozen_weights_have_no_gradients_to_compute():
    frozen, trained = (
        count_operations({"vit": SMALL, "image_size": (64, 64), "trainable": trainable}, 4, 3)
        for trainable in ("masam", "all")
    )
    assert frozen.forward == trained.forward
    assert frozen.backward < trained.backward == pytest.approx(2 * trained.forward, rel=0.1)


def test_a_size_that_windows_do_not_fill_costs_no_more():
    """Per pixel, 512 (windows of 14, 14 and 4 tokens) is within 3 % of 448 (two whole windows)."""
    vit = {"embed_dim": 768, "depth": 3, "num_heads": 12, "global_attn_indexes": [2]}
    fitting, usual = (
        count_operations({"vit": vit, "image_size": (side, side)}, 1, 3).forward / side**2 for side in (448, 512)
    )
    assert usual == pytest.approx(fitting, rel=0.03)


def test_products_that_torch_leaves_out_are_counted():
    sums, left, right = torch.zeros(2, 3, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)
    with count_products() as counter:
        sums.baddbmm_(left, right)
    assert counter.get_total_flops() == 2 * 2 * 3 * 4 * 5
    query = torch.rand(1, 2, 6, 8)
    with count_products() as counter, torch.no_grad():
        nn.functional.scaled_dot_product_attention(query, query, query)
    assert counter.get_total_flops() == 2 * (2 * 2 * 6 * 6 * 8)
