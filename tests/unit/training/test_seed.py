"""Batches follow from the seed and their number."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nnunetv2_masam.training import seed


class Loader:
    """Draws from all three generators, as nnU-Net's loader and transforms do."""

    def __init__(self) -> None:
        inner = SimpleNamespace(benchmark=True)
        self.transforms = SimpleNamespace(transforms=[SimpleNamespace(transform=inner)])
        self.inner = inner

    def __next__(self) -> dict:
        return {"data": torch.rand(2).numpy(), "keys": [random.random(), float(np.random.rand())]}


def batches(first: int, count: int) -> list[list[float]]:
    augmenter = seed.numbered_augmenter(Loader(), (7, 0, 0), first)
    drawn = [next(augmenter) for _ in range(count)]
    return [[*batch["data"].tolist(), *batch["keys"]] for batch in drawn]


def test_batches_do_not_depend_on_the_start():
    alone = batches(0, 6)
    assert len({tuple(batch) for batch in alone}) == 6
    assert batches(0, 6) == alone
    assert batches(3, 3) == alone[3:]


def test_the_global_generators_are_left_alone():
    seed.seed_all(1)
    expected = torch.rand(1), random.random(), np.random.rand()
    seed.seed_all(1)
    batches(0, 2)
    assert (torch.rand(1), random.random(), np.random.rand()) == expected


def test_no_transform_chooses_by_speed():
    loader = Loader()
    seed.numbered_augmenter(loader, (0,), 0)
    assert not loader.inner.benchmark


@pytest.mark.parametrize(("text", "expected"), [("", None), (" ", None), ("0", 0), ("42", 42)])
def test_variable(monkeypatch, text, expected):
    monkeypatch.setenv(seed.VARIABLE, text)
    assert seed.seed_from_environment() == expected


@pytest.mark.parametrize("text", ["-1", "1.5", "one"])
def test_variable_that_is_no_seed(monkeypatch, text):
    monkeypatch.setenv(seed.VARIABLE, text)
    with pytest.raises(ValueError, match="expected a whole number"):
        seed.seed_from_environment()
