"""Short trainings for the documentation's pictures: a box that is followed, and a video."""

from nnUNetTrainerMASAM_box import nnUNetTrainerMASAM_box_tiny
from nnUNetTrainerMASAM_tiny import nnUNetTrainerMASAM_tiny


class nnUNetTrainerMASAM_box_tiny_6epochs(nnUNetTrainerMASAM_box_tiny):
    """300 steps."""

    epochs = 6


class nnUNetTrainerMASAM_tiny_3epochs(nnUNetTrainerMASAM_tiny):
    """150 steps."""

    epochs = 3
