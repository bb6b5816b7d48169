"""The transformer-era networks that the paper compares MA-SAM with, as plain modules.

Axes are (D, H, W); B is the batch, C the input channels, K the output channels. Both need MONAI
(``pip install nnunetv2-masam[monai]``), which is imported when a network is built.
"""

from nnunetv2_masam.baselines.nnformer import NNFormer
from nnunetv2_masam.baselines.uxnet3d import UXNet3D

__all__ = ["NNFormer", "UXNet3D"]
