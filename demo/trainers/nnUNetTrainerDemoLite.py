"""MA-SAM from LiteMedSAM's weights, short enough for a demonstration on a CPU."""

from __future__ import annotations

from dataclasses import replace

from nnunetv2_masam.trainers import nnUNetTrainerMASAM_lite


class nnUNetTrainerDemoLite(nnUNetTrainerMASAM_lite):
    """120 steps, which the network sees at about half the resolution of the voxels."""

    rules = replace(nnUNetTrainerMASAM_lite.rules, max_image_side=56, min_image_side=56)
    warmup_steps = 15
    epochs = 4
    steps_per_epoch = 30
    validation_steps_per_epoch = 2
