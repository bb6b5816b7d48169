"""Torch's counter of floating-point operations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def count_products() -> FlopCounterMode:
    """A context that counts matrix products, also two that torch leaves out: in place, and a CPU's fused attention."""
    aten = torch.ops.aten
    mapping = {
        aten.baddbmm_: _operations,
        aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention,
    }
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _fused_attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **kwargs: Any) -> int:
    """Of scores and the sum over values."""
    return int(sdpa_flop_count(query, key, value))


def _operations(_: torch.Size, left: torch.Size, right: torch.Size, **kwargs: Any) -> int:
    """Of products (n, i, j) · (n, j, k)."""
    return 2 * math.prod(left) * right[-1]
