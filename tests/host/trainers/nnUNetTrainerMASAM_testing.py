"""A recipe small enough to run whole in a test, in a folder as a user would add to nnUNet_extTrainer."""

import os
import signal
from dataclasses import replace

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.box_trainer import MASAMBoxTrainer
from nnunetv2_masam.training.trainer import MASAMTrainer

_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1]}


class nnUNetTrainerMASAM_testing(MASAMTrainer):
    """Two epochs of three steps from scratch."""

    rules = PlanningRules(
        vit=_VIT,
        slices=4,
        batch_size=2,
        max_image_side=48,
        arch_kwargs={"trainable": "all", "fact_rank": 4, "adapter_channels": 8},
    )
    needs_pretrained_weights = False
    warmup_steps = 2
    epochs = 2
    steps_per_epoch = 3
    validation_steps_per_epoch = 1
    mirror_axes = ()


class nnUNetTrainerMASAM_testing_sam(nnUNetTrainerMASAM_testing):
    """The same from SAM's weights, most of them frozen, with adapters that reach further."""

    rules = PlanningRules(
        vit=_VIT,
        slices=4,
        batch_size=2,
        max_image_side=48,
        arch_kwargs={"fact_rank": 4, "adapter_channels": 8, "adapter_kernel": 5, "adapter_dilation": 2},
    )
    needs_pretrained_weights = True


class nnUNetTrainerMASAM_testing_box(MASAMBoxTrainer, nnUNetTrainerMASAM_testing):
    """With box prompts."""

    rules = replace(
        nnUNetTrainerMASAM_testing.rules,
        arch_kwargs={**nnUNetTrainerMASAM_testing.rules.arch_kwargs, "prompt": "box"},
    )


class nnUNetTrainerMASAM_testing_killed(nnUNetTrainerMASAM_testing):
    """Kills itself before the step, counted from 1 over the training, that the environment names."""

    def train_step(self, batch: dict) -> dict:
        if str(self.steps_taken + 1) == os.environ.get("MASAM_TESTING_KILL_AT_STEP"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().train_step(batch)
