"""The MA-SAM of ``crossval_hippocampus.py``: as many steps as two idle cores take in about five and a half minutes."""

from __future__ import annotations

from nnUNetTrainerMASAM_tiny import nnUNetTrainerMASAM_tiny


class nnUNetTrainerMASAM_tiny_1050steps(nnUNetTrainerMASAM_tiny):
    """21 epochs of 50 steps; the learning rate decays over these."""

    epochs = 21
