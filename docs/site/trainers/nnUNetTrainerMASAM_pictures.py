"""Short trainings at few pixels for the documentation's pictures: a box that is followed, and a video."""

from dataclasses import replace

from nnUNetTrainerMASAM_box import nnUNetTrainerMASAM_box_tiny
from nnUNetTrainerMASAM_tiny import nnUNetTrainerMASAM_tiny

SMALL = {"max_upsampling": 1.5, "batch_size": 2}


class nnUNetTrainerMASAM_box_picture(nnUNetTrainerMASAM_box_tiny):
    """800 steps of two samples."""

    rules = replace(nnUNetTrainerMASAM_box_tiny.rules, **SMALL)
    epochs = 16


class nnUNetTrainerMASAM_video_picture(nnUNetTrainerMASAM_tiny):
    """150 steps of two samples."""

    rules = replace(nnUNetTrainerMASAM_tiny.rules, **SMALL)
    epochs = 3
