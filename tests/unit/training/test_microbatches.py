"""Batches in parts."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_masam.training.microbatches import copied_ahead, split_batch


@pytest.mark.parametrize("deep", [False, True])
def test_parts_are_even_and_complete(deep):
    data = torch.arange(10.0).view(5, 2)
    target = torch.arange(5).view(5, 1)
    parts = split_batch({"data": data, "target": [target, target + 5] if deep else target}, 2)
    assert [len(part["data"]) for part in parts] == [3, 2]
    copied = list(copied_ahead(parts, torch.device("cpu")))
    assert torch.equal(torch.cat([d for d, _ in copied]), data)
    if deep:
        assert torch.equal(torch.cat([t[1] for _, t in copied]), target + 5)
    else:
        assert torch.equal(torch.cat([t for _, t in copied]), target)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_parts_arrive_whole_on_a_gpu():
    """Copies run on a stream of their own; what computes meanwhile must not disturb them."""
    data = torch.randn(16, 1 << 20).pin_memory()
    target = torch.randint(0, 9, (16, 1 << 10)).pin_memory()
    device = torch.device("cuda", 0)
    work = torch.randn(2048, 2048, device=device)
    seen = []
    for part, _ in copied_ahead(split_batch({"data": data, "target": target}, 8), device):
        for _ in range(20):
            work = work @ work / 2048
        seen.append(part * 1.0)
    assert torch.equal(torch.cat(seen).cpu(), data)
