"""Split batches into micro-batches that fit the GPU's memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def copied_ahead(parts: Sequence[dict[str, Any]], device: torch.device) -> Iterator[tuple[Tensor, Target]]:
    """Data and target of each part on ``device``; on a GPU the next part is copied while the last one computes.

    The copies run beside the computation only from pinned memory, which is what nnU-Net's loaders deliver.
    """
    if device.type != "cuda":
        for part in parts:
            yield _to(part["data"], device), _to(part["target"], device)
        return
    stream = torch.cuda.Stream(device)
    following = _copy(parts[0], device, stream)
    for index in range(len(parts)):
        current = following
        compute = torch.cuda.current_stream(device)
        compute.wait_stream(stream)
        for tensor in _tensors(current):
            tensor.record_stream(compute)  # its memory is the copying stream's otherwise
        if index + 1 < len(parts):
            following = _copy(parts[index + 1], device, stream)
        yield current


def _copy(part: dict[str, Any], device: torch.device, stream: torch.cuda.Stream) -> tuple[Tensor, Target]:
    with torch.cuda.stream(stream):
        return _to(part["data"], device), _to(part["target"], device)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [tensor.to(device, non_blocking=True) for tensor in value]
    return value.to(device, non_blocking=True)


def _tensors(part: tuple[Tensor, Target]) -> list[Tensor]:
    data, target = part
    return [data, *(target if isinstance(target, list) else [target])]
