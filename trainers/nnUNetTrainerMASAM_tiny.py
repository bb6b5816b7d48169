"""A small MA-SAM trained from scratch: for CPUs, tests and the demo. Needs no SAM weights.

Everything is trained, so FacT, whose increments adapt frozen weights, is left out.
"""

import os

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerMASAM_tiny(MASAMTrainer):
    """The full run, half an hour on two cores for a small data set."""

    rules = PlanningRules(
        vit="vit_t",
        batch_size=int(os.environ.get("BS", 4)),
        max_upsampling=float(os.environ.get("UP", 4)),
        max_image_side=256,
        slices=int(os.environ.get("SL", 5)),
        arch_kwargs={"trainable": "all", "fact_rank": 0, "adapter_channels": 48},
    )
    needs_sam_weights = False
    base_lr = float(os.environ.get("LR", 1e-3))
    weight_decay_masam = 0.05
    warmup_steps = 50
    lr_exponent = 0.9
    epochs = int(os.environ.get("EP", 10))
    steps_per_epoch = 50
    validation_steps_per_epoch = 5
    rotation_degrees = 15.0
    mirror_axes = ()
