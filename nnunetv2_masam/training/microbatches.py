"""Split batches into micro-batches that fit the GPU's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Target = Tensor | list[Tensor]  # a list under deep supervision


def split_batch(batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """``data`` and ``target`` of a batch in ``parts`` parts, whose sizes differ by one sample at most."""
    data, target = batch["data"].tensor_split(parts), batch["target"]
    if isinstance(target, list):
        targets: Sequence[Target] = [
            list(scales) for scales in zip(*(t.tensor_split(parts) for t in target), strict=True)
        ]
    else:
        targets = target.tensor_split(parts)
    return [{"data": d, "target": t} for d, t in zip(data, targets, strict=True)]


def on_device(part: dict[str, Any], device: torch.device) -> tuple[Tensor, Target]:
    """Data and target of a part on ``device``."""
    target = part["target"]
    if isinstance(target, list):
        target = [scale.to(device, non_blocking=True) for scale in target]
    else:
        target = target.to(device, non_blocking=True)
    return part["data"].to(device, non_blocking=True), target
