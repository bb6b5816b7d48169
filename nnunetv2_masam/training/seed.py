"""Make trainings repeatable bit by bit with ``MASAM_SEED``.

nnU-Net's checkpoints hold no random state. So nothing here continues a random stream: what an epoch draws follows from
the seed and the epoch's number, and what a batch holds from the seed and the batch's number. A training that was killed
and resumed then draws what an uninterrupted one draws. Data are loaded in the process of the training: a process that
is forked after torch has started threads can wait for them forever.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

VARIABLE = "MASAM_SEED"
WEIGHTS, EPOCH, TRAINING_BATCH, VALIDATION_BATCH = range(4)  # streams of random numbers


def seed_from_environment() -> int | None:
    """``MASAM_SEED``, or None where it is not set.

    Raises:
        ValueError: it is not a whole number from zero on.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"{VARIABLE} is {text!r}, expected a whole number such as 1; unset it to train without a seed")
    return int(text)


def seed_all(*key: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators from numbers, GPUs' included."""
    python, numpy, pytorch = _states(*key)
    random.seed(python)
    np.random.seed(numpy)
    torch.manual_seed(pytorch)


class NumberedBatches:
    """nnU-Net's data loader, whose n-th batch follows from a key and n.

    Args:
        loader: gives batches by the global generators, which are left as they were.
        key: seed and stream.
        first: number of the first batch.
    """

    def __init__(self, loader: Any, key: tuple[int, ...], first: int) -> None:
        self.loader = loader
        self.key = key
        self.number = first

    def __iter__(self) -> NumberedBatches:
        return self

    def __next__(self) -> dict[str, Any]:
        with _generators_restored():
            python, numpy, pytorch = _states(*self.key, self.number)
            random.seed(python)
            np.random.seed(numpy)
            torch.default_generator.manual_seed(pytorch)  # the CPU's; a GPU's is left to the network
            batch = next(self.loader)
        self.number += 1
        return batch


def numbered_augmenter(loader: Any, key: tuple[int, ...], first: int) -> SingleThreadedAugmenter:
    """Batches of :class:`NumberedBatches` in the order of their numbers."""
    _without_timing(loader.transforms)
    return SingleThreadedAugmenter(NumberedBatches(loader, key, first), None)


def numbered_loaders(
    training: Any, validation: Any, steps: tuple[int, int], key: tuple[int, int], epoch: int
) -> tuple[SingleThreadedAugmenter, SingleThreadedAugmenter]:
    """nnU-Net's two loaders, each with a stream of its own that goes on where ``epoch`` begins.

    Args:
        training, validation: as nnU-Net makes them without workers.
        steps: of an epoch, for each of the two.
        key: seed and rank.
        epoch: the first one that is drawn for.
    """
    value, rank = key
    streams = zip((training, validation), (TRAINING_BATCH, VALIDATION_BATCH), steps, strict=True)
    first, second = (
        numbered_augmenter(augmenter.data_loader, (value, stream, rank), first=epoch * number)
        for augmenter, stream, number in streams
    )
    return first, second


@contextmanager
def no_workers() -> Iterator[None]:
    """Let nnU-Net load data in this process within this context."""
    variable = "nnUNet_n_proc_DA"
    before = os.environ.get(variable)
    os.environ[variable] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def _without_timing(transform: Any) -> None:
    """Keep transforms from choosing between two algorithms by their speed: results differ in the last bits."""
    if hasattr(transform, "benchmark"):
        transform.benchmark = False
    for inner in (*getattr(transform, "transforms", ()), getattr(transform, "transform", None)):
        if inner is not None:
            _without_timing(inner)


def _states(*key: int) -> tuple[int, ...]:
    return tuple(int(state) for state in np.random.SeedSequence(key).generate_state(3))


@contextmanager
def _generators_restored() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
