"""MA-SAM from LiteMedSAM's weights, short enough for a demonstration on a CPU."""

from __future__ import annotations

from dataclasses import replace

from nnunetv2_masam.trainers import nnUNetTrainerMASAM_lite


class nnUNetTrainerDemoLite(nnUNetTrainerMASAM_lite):
    """70 steps on half the samples, which the network sees at about the resolution of the voxels."""

    rules = replace(nnUNetTrainerMASAM_lite.rules, batch_size=2, max_image_side=56, min_image_side=56)
    warmup_steps = 10
    epochs = 7
    steps_per_epoch = 10
    validation_steps_per_epoch = 2
