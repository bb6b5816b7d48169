"""Trainers of ``crossval_hippocampus.py``: as many steps as two idle cores take in about five and a half minutes."""

from __future__ import annotations

import torch
from nnUNetTrainerMASAM_tiny import nnUNetTrainerMASAM_tiny
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerMASAM_tiny_1050steps(nnUNetTrainerMASAM_tiny):
    """21 epochs of 50 steps; the learning rate decays over these."""

    epochs = 21


class nnUNetTrainer_260iterations(nnUNetTrainer):
    """nnU-Net as it is, for 10 epochs of 26 iterations; the learning rate decays over these."""

    epochs, iterations = 10, 26

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net reads this signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch = self.epochs, self.iterations
        self.num_val_iterations_per_epoch = 2
        self.save_every = 1


class nnUNetTrainer_175iterations(nnUNetTrainer_260iterations):
    """7 epochs of 25 iterations, for ResEnc-M: one of its iterations takes about 1.5 of the plain U-Net's."""

    epochs, iterations = 7, 25
