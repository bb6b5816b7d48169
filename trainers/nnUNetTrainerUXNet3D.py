"""3D UX-Net (Lee et al. 2023). Needs ``pip install nnunetv2-masam[monai]``.

Network, patch, batch, optimizer and number of iterations are those of the authors' code, which has configurations for
FeTA, FLARE and AMOS and none for BTCV: these numbers are carried over to every dataset.
"""

import torch

from nnunetv2_masam.training.foreign import UXNET3D, ForeignTrainer


class nnUNetTrainerUXNet3D(ForeignTrainer):
    """Two patches of 96 x 96 x 96, or as large as the images, an iteration; 40 000 iterations at a constant rate."""

    foreign = UXNET3D
    largest_patch = (96, 96, 96)
    optimizer_class = torch.optim.AdamW
    optimizer_kwargs = {"lr": 1e-4, "weight_decay": 0.01}  # AdamW's own decay
    lr_exponent = 0.0
    epochs = 160
