"""Loading processes draw different random numbers from torch, and the training's process is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_masam.training import seed
from nnunetv2_masam.training.base import BaseTrainer
from nnunetv2_masam.training.workers import SeedWorker

ARGUMENTS = ((5, 8, 8), (-0.5, 0.5), None, (1, 2), True)


class Draw(BasicTransform):
    """Give what torch draws for a sample."""

    def apply(self, data_dict: dict, **_: object) -> dict:
        return {"drawn": torch.rand(3).tolist()}


class Loader:
    """nnU-Net's loader as far as workers are concerned: numbered samples, each with its process's transforms."""

    def __init__(self, *transforms: BasicTransform) -> None:
        self.transforms = ComposeTransforms(list(transforms))
        self.worker, self.number = 0, 0

    def set_thread_id(self, worker: int) -> None:
        self.worker = worker

    def __next__(self) -> dict:
        self.number += 1
        return {"worker": self.worker, "number": self.number, **self.transforms(image=None)}


def drawn_by_workers(*transforms: BasicTransform) -> tuple[list[list[float]], ...]:
    """The first three draws of two forked workers."""
    augmenter = NonDetMultiThreadedAugmenter(Loader(*transforms), None, num_processes=2, num_cached=2)
    found: tuple[dict, dict] = ({}, {})
    try:
        while not all({1, 2, 3} <= numbers.keys() for numbers in found):
            item = next(augmenter)
            found[item["worker"]][item["number"]] = item["drawn"]
    finally:
        augmenter._finish()
    return tuple([numbers[n] for n in (1, 2, 3)] for numbers in found)


def test_workers_draw_different_numbers():
    first, second = drawn_by_workers(SeedWorker(), Draw())
    again, _ = drawn_by_workers(SeedWorker(), Draw())  # those of the next training
    assert len({tuple(draw) for draws in (first, second, again) for draw in draws}) == 9


def test_workers_need_it():
    """Without it they draw the same: when this fails, batchgenerators seeds torch and ``SeedWorker`` can go."""
    first, second = drawn_by_workers(Draw())
    assert first == second


def test_the_trainings_process_keeps_its_generators():
    """With ``nnUNet_n_proc_DA=0``."""
    seed.seed_all(5)
    expected = torch.rand(3).tolist(), np.random.rand()
    seed.seed_all(5)
    batches = SingleThreadedAugmenter(Loader(SeedWorker(), Draw()), None)
    assert (next(batches)["drawn"], np.random.rand()) == expected


@pytest.mark.parametrize("first", [0, 2])
def test_batches_of_a_seed_stay_the_same(first):
    def batches(*transforms: BasicTransform) -> list[dict]:
        augmenter = seed.numbered_augmenter(Loader(*transforms), (7, 0, 0), first)
        return [next(augmenter)["drawn"] for _ in range(3)]

    assert batches(SeedWorker(), Draw()) == batches(Draw())


def test_trainers_seed_before_anything_is_drawn():
    trainer = object.__new__(BaseTrainer)  # its transforms need nothing of it
    ours, theirs = (t.get_training_transforms(*ARGUMENTS).transforms for t in (trainer, nnUNetTrainer))
    assert [type(t) for t in ours] == [SeedWorker, *(type(t) for t in theirs)]
