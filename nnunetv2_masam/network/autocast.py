"""Mixed precision: bfloat16, which needs no gradient scaler, and the same precision where a pass computes again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def has_bf16(device: torch.device) -> bool:
    """Whether ``device`` is a GPU that computes in bfloat16 at full speed."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def bf16_autocast(device: torch.device, on_cpu: bool = False) -> AbstractContextManager:
    """bfloat16 where a caller's autocast asks for float16, which overflows in large ViTs; on a CPU if ``on_cpu``."""
    if device.type == "cpu" and on_cpu:
        return torch.autocast("cpu", dtype=torch.bfloat16)
    if has_bf16(device) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def without_autocast(device: torch.device) -> AbstractContextManager:
    """A context in which a caller's autocast has no effect; devices without autocast, such as meta, have none."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def remember_autocast(ctx: Any, like: Tensor) -> None:
    """Note the precision in the forward pass of an autograd function, for its backward pass."""
    device_type = like.device.type
    ctx.autocast = {
        "device_type": device_type,
        "enabled": torch.is_autocast_enabled(device_type),
        "dtype": torch.get_autocast_dtype(device_type),
    }


def autocast_as_in_forward(ctx: Any) -> AbstractContextManager:
    """Set, in the backward pass, the precision that :func:`remember_autocast` noted."""
    return torch.autocast(**ctx.autocast)
