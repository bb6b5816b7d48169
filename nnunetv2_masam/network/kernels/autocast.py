"""The precision of a forward pass for a backward pass that computes again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor


def remember_autocast(ctx: Any, like: Tensor) -> None:
    """In the forward pass of an autograd function: note the precision for its backward pass."""
    device_type = like.device.type
    ctx.autocast = {
        "device_type": device_type,
        "enabled": torch.is_autocast_enabled(device_type),
        "dtype": torch.get_autocast_dtype(device_type),
    }


def autocast_as_in_forward(ctx: Any) -> AbstractContextManager:
    """In the backward pass: the precision that :func:`remember_autocast` noted."""
    return torch.autocast(**ctx.autocast)
