"""Batches in parts."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_masam.training.microbatches import on_device, split_batch


@pytest.mark.parametrize("deep", [False, True])
def test_parts_are_even_and_complete(deep):
    data = torch.arange(10.0).view(5, 2)
    target = torch.arange(5).view(5, 1)
    parts = split_batch({"data": data, "target": [target, target + 5] if deep else target}, 2)
    assert [len(part["data"]) for part in parts] == [3, 2]
    copied = [on_device(part, torch.device("cpu")) for part in parts]
    assert torch.equal(torch.cat([d for d, _ in copied]), data)
    if deep:
        assert torch.equal(torch.cat([t[1] for _, t in copied]), target + 5)
    else:
        assert torch.equal(torch.cat([t for _, t in copied]), target)
