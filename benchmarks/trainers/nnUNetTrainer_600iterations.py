"""The baseline of benchmarks on a CPU: nnU-Net as it is, for 600 iterations instead of 250 000."""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainer_600iterations(nnUNetTrainer):
    """24 epochs of 25 iterations; the learning rate decays over these."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net reads this signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 24
        self.num_iterations_per_epoch = 25
        self.num_val_iterations_per_epoch = 2
