"""nnU-Net as it is, for a fixed number of iterations that a CPU can take, over which its learning rate decays."""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class _Short(nnUNetTrainer):
    epochs, iterations = 1, 1

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


class nnUNetTrainer_600iterations(_Short):
    """24 epochs of 25 iterations."""

    epochs, iterations = 24, 25


class nnUNetTrainer_260iterations(_Short):
    """10 epochs of 26 iterations: five and a half minutes on two idle cores."""

    epochs, iterations = 10, 26


class nnUNetTrainer_500iterations(_Short):
    """10 epochs of 50 iterations, for the 2D U-Net: five and a half minutes on two idle cores."""

    epochs, iterations = 10, 50
