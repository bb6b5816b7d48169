"""SwinUNETR (Hatamizadeh et al. 2022) from MONAI, the transformer baseline. Needs ``pip install monai``.

Learning rate, weight decay, epsilon and width are those of U-Mamba's comparison in nnU-Net v2 (Ma et al. 2024).
"""

from nnunetv2_masam.training.swin_unetr import SwinUNETRTrainer


class nnUNetTrainerSwinUNETR(SwinUNETRTrainer):
    """Feature size 48, patches of multiples of 32, two of them an iteration in 3D, nnU-Net's 1000 epochs."""

    arch_kwargs = {"feature_size": 48}
    batch_size_3d = 2
    base_lr = 8e-4
    weight_decay_adamw = 0.01
    eps = 1e-5
