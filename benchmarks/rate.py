"""The rate of a large matrix product, with which other rates are compared."""

from __future__ import annotations

import statistics
import time

import torch

LARGE = 4096  # rows, columns and depth


def rate_of_a_large_product(device: str) -> float:
    """Floating-point operations a second in float32, a multiplication and an addition counting as two."""
    left, right, out = (torch.rand(LARGE, LARGE, device=device) for _ in range(3))
    seconds = []
    for _ in range(6):
        started = now(device)
        torch.mm(left, right, out=out)
        seconds.append(now(device) - started)
    return 2 * LARGE**3 / statistics.median(seconds[1:])


def now(device: str) -> float:
    """Seconds, when all that was given to the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
