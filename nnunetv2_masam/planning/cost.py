"""Arithmetic operations of the network, counted by torch on tensors of the meta device: nothing is computed.

``plan --explain`` compares plans by those of a training step; benchmarks also report those of a forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch.utils.flop_counter import FlopCounterMode


class Operations(NamedTuple):
    """Operations (a multiplication and an addition are two) of a sample's matrix products and convolutions.

    Attributes:
        forward: of the forward pass.
        backward: of the backward pass, which ends where all that comes before is frozen.
    """

    forward: int
    backward: int


def count_operations(
    arch_kwargs: Mapping[str, Any], slices: int, num_classes: int, input_channels: int = 1
) -> Operations:
    """Count the operations of one sample in training, without gradient checkpointing.

    Args:
        arch_kwargs: the network's arguments; slices have the size of its ``image_size``.
        slices: D.
        num_classes: K.
        input_channels: C; a box channel counts as one of the image.
    """
    import torch

    from nnunetv2_masam.network import MASAM

    arguments = {**arch_kwargs, "gradient_checkpointing": False, "prompt": "none"}  # boxes depend on the data
    with torch.device("meta"):
        network = MASAM(input_channels, num_classes, **arguments).train()
        sample = torch.empty(1, input_channels, slices, *network.image_size)
    with count_products() as forward:
        logits = network(sample)
    with count_products() as backward:
        logits.sum().backward()
    return Operations(int(forward.get_total_flops()), int(backward.get_total_flops()))


def count_products() -> FlopCounterMode:
    """A context that counts operations, also of two that torch leaves out: in place, and a CPU's fused attention."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def product_in_place(_: torch.Size, left: torch.Size, right: torch.Size, **kwargs: Any) -> int:
        """Operations of the product (n, i, j) · (n, j, k)."""
        return 2 * math.prod(left) * right[-1]

    def fused_attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **kwargs: Any) -> int:
        """Operations of the scores and of the sum over values."""
        return int(sdpa_flop_count(query, key, value))

    aten = torch.ops.aten
    mapping = {
        aten.baddbmm_: product_in_place,
        aten._scaled_dot_product_flash_attention_for_cpu: fused_attention,
    }
    return FlopCounterMode(display=False, custom_mapping=mapping)
