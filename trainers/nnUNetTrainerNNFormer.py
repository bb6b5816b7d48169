"""nnFormer (Zhou et al. 2023). Needs ``pip install nnunetv2-masam[monai]``.

Numbers are those of the authors' code for Synapse, which starts from weights that are not public; here it starts from
random ones.
"""

import torch

from nnunetv2_masam.training.foreign import NNFORMER, ForeignTrainer


class nnUNetTrainerNNFormer(ForeignTrainer):
    """Two patches of 64 x 128 x 128, or as large as the images, an iteration; SGD at 0.01, nnU-Net's 1000 epochs."""

    foreign = NNFORMER
    largest_patch = (64, 128, 128)
    optimizer_class = torch.optim.SGD
    optimizer_kwargs = {"lr": 0.01, "momentum": 0.99, "nesterov": True, "weight_decay": 3e-5}
