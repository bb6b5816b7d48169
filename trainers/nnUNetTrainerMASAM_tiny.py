"""A small MA-SAM trained from scratch: for CPUs, tests and the demo. Needs no SAM weights.

Everything is trained, so FacT, which adapts frozen weights, is left out.
"""

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.recipes import ShortRun
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerMASAM_tiny(ShortRun, MASAMTrainer):
    """2500 steps, a quarter of an hour on two cores for a dataset of small images."""

    rules = PlanningRules(
        vit="vit_t",
        slices=5,
        batch_size=4,
        max_image_side=256,
        max_upsampling=3.0,
        arch_kwargs={"trainable": "all", "fact_rank": 0, "adapter_channels": 48},
    )
    needs_pretrained_weights = False


class nnUNetTrainerMASAM_tiny_10epochs(nnUNetTrainerMASAM_tiny):
    """A fifth of the full run."""

    epochs = 10


class nnUNetTrainerMASAM_tiny_5epochs(nnUNetTrainerMASAM_tiny):
    """A tenth of the full run, for the demonstration."""

    epochs = 5


class nnUNetTrainerMASAM_tiny_1epoch(nnUNetTrainerMASAM_tiny):
    """50 steps, to see that everything runs."""

    epochs = 1
