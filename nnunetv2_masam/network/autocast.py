"""Mixed precision: bfloat16 where the device has it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether ``device`` is a GPU that computes in bfloat16 at full speed."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def bf16_autocast(device: torch.device, on_cpu: bool = False) -> AbstractContextManager:
    """bfloat16 in place of the float16 that a caller's autocast asks for, where the GPU has it.

    float16 overflows in large ViTs; bfloat16 does not, and training in it needs no gradient scaler. On a CPU, where no
    caller asks, ``on_cpu`` says so.
    """
    if device.type == "cpu" and on_cpu:
        return torch.autocast("cpu", dtype=torch.bfloat16)
    if has_bf16(device) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
