"""Recipes whose batches are the same for one process and for several, which share them: for tests on CPUs."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from nnUNetTrainerMASAM_testing import (
    nnUNetTrainerMASAM_testing,
    nnUNetTrainerMASAM_testing_box,
    nnUNetTrainerMASAM_testing_sam,
)

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.schedule import WarmupPolySchedule
from nnunetv2_masam.training.trainer import MASAMTrainer

CPU = torch.device("cpu")


def without_dropout(rules: PlanningRules, batch_size: int) -> PlanningRules:
    return replace(rules, batch_size=batch_size, arch_kwargs={**rules.arch_kwargs, "fact_dropout": 0.0})


class SharedBatches(MASAMTrainer):
    """Five samples a step, two at once, so that ranks differ in samples and in micro-batches; Dice for each sample."""

    base_lr = 0.05
    micro_batch_size = 2
    batch_dice = False
    device = property(lambda self: CPU, lambda self, device: None)  # nnU-Net's ranks are on GPUs otherwise

    @classmethod
    def planned(cls, plans: dict, configuration: str, dataset_json: dict) -> dict:
        plans = super().planned(plans, configuration, dataset_json)
        plans["configurations"][configuration]["batch_dice"] = cls.batch_dice
        return plans

    def configure_optimizers(self) -> tuple:
        """Plain gradient descent: its steps are as different as the gradients are."""
        optimizer = torch.optim.SGD(self.network.parameters(), self.base_lr)
        steps = self.num_epochs * self.num_iterations_per_epoch
        return optimizer, WarmupPolySchedule(
            optimizer, self.base_lr, warmup_steps=0, total_steps=steps, exponent=1.0, steps_per_epoch=3
        )

    def get_dataloaders(self) -> tuple:
        self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        return self.batches(), self.batches()

    def batches(self) -> Iterator[dict]:
        """This rank's part of each batch; the second one of an epoch is not finite in its last sample.

        A box channel is empty but for the first sample, so that one rank has boxes and the other has none.
        """
        samples = self.configuration_manager.batch_size
        ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        start = sum(samples // ranks + (rank < samples % ranks) for rank in range(self.local_rank))
        own = slice(start, start + self.batch_size)
        number = self.current_epoch * self.num_iterations_per_epoch
        while True:
            generator = torch.Generator().manual_seed(number)
            shape = (samples, 1, *self.configuration_manager.patch_size)
            data, target = torch.randn(shape, generator=generator), torch.randint(0, 3, shape, generator=generator)
            if number % 3 == 1:
                data[-1] = float("nan")
            if self.masam.prompt == "box":
                boxes = torch.zeros(shape)
                boxes[0, ..., 5:30, 8:25] = 1
                data = torch.cat([data, boxes], dim=1)
            keys = np.array([f"sample{index}" for index in range(samples)])
            yield {"data": data[own], "target": target[own], "keys": keys[own]}
            number += 1

    def on_epoch_end(self) -> None:
        """Keep a copy of the first epoch's checkpoint, which nnU-Net removes in the end."""
        super().on_epoch_end()
        latest = Path(self.output_folder) / "checkpoint_latest.pth"
        if self.local_rank == 0 and self.current_epoch == 1:
            shutil.copy(latest, latest.with_name("checkpoint_first.pth"))

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Nothing."""


class nnUNetTrainerMASAM_testing_ranks(SharedBatches, nnUNetTrainerMASAM_testing):
    """From scratch."""

    rules = without_dropout(nnUNetTrainerMASAM_testing.rules, batch_size=5)


class nnUNetTrainerMASAM_testing_nodes(nnUNetTrainerMASAM_testing_ranks):
    """Rank 0 on its node, of which there are several, as in nnU-Net's branch for training across nodes."""

    local_rank = property(lambda self: 0, lambda self, rank: None)


class nnUNetTrainerMASAM_testing_even_ranks(SharedBatches, nnUNetTrainerMASAM_testing):
    """Four samples a step, all at once: batch Dice sees all of them."""

    rules = without_dropout(nnUNetTrainerMASAM_testing.rules, batch_size=4)
    micro_batch_size = 4
    batch_dice = True


class nnUNetTrainerMASAM_testing_sam_ranks(SharedBatches, nnUNetTrainerMASAM_testing_sam):
    """From SAM's weights, most of them frozen."""

    rules = without_dropout(nnUNetTrainerMASAM_testing_sam.rules, batch_size=5)


class nnUNetTrainerMASAM_testing_box_ranks(SharedBatches, nnUNetTrainerMASAM_testing_box):
    """With boxes on one rank only."""

    rules = without_dropout(nnUNetTrainerMASAM_testing_box.rules, batch_size=5)
