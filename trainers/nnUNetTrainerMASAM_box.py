"""MA-SAM with a box prompt, for tumours and whatever else a user can point at.

The dataset's last channel is the box, which ``nnUNetv2_masam boxes`` writes.
"""

from dataclasses import replace

from nnUNetTrainerMASAM_tiny import nnUNetTrainerMASAM_tiny

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.box_trainer import MASAMBoxTrainer


class nnUNetTrainerMASAM_box(MASAMBoxTrainer):
    """ViT-B from SAM's weights."""

    rules = PlanningRules(vit="vit_b", arch_kwargs={"prompt": "box"})


class nnUNetTrainerMASAM_box_tiny(MASAMBoxTrainer, nnUNetTrainerMASAM_tiny):
    """A small ViT from scratch, for CPUs; needs no SAM weights."""

    rules = replace(
        nnUNetTrainerMASAM_tiny.rules, arch_kwargs={**nnUNetTrainerMASAM_tiny.rules.arch_kwargs, "prompt": "box"}
    )


class nnUNetTrainerMASAM_box_tiny_10epochs(nnUNetTrainerMASAM_box_tiny):
    """A fifth of the full run."""

    epochs = 10
