"""nnU-Net as it is, but short enough for a demonstration on a CPU."""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerDemoBaseline(nnUNetTrainer):
    """The stock trainer for 48 iterations instead of 250 000; its learning rate decays over these."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net reads this signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 8
        self.num_iterations_per_epoch = 6
        self.num_val_iterations_per_epoch = 2
