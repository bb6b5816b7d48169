"""SwinUNETR (Hatamizadeh et al. 2022) from MONAI. Needs ``pip install nnunetv2-masam[monai]``.

Learning rate, weight decay, epsilon and width are those of U-Mamba's comparison in nnU-Net v2 (Ma et al. 2024).
"""

import torch

from nnunetv2_masam.training.foreign import SWIN_UNETR, ForeignTrainer


class nnUNetTrainerSwinUNETR(ForeignTrainer):
    """Feature size 48, patches of multiples of 32, two of them an iteration in 3D, nnU-Net's 1000 epochs."""

    foreign = SWIN_UNETR
    arch_kwargs = {"feature_size": 48}
    optimizer_class = torch.optim.AdamW
    optimizer_kwargs = {"lr": 8e-4, "weight_decay": 0.01, "eps": 1e-5}
