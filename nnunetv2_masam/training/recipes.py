"""What several recipes share: optimisation from random weights, and short runs on CPUs."""

from __future__ import annotations

from dataclasses import replace

from nnunetv2_masam.planning import PlanningRules


class FromScratch:
    """Optimisation of a recipe from random weights; precedes the pretrained recipe among the bases of a class.

    Learning rate and weight decay are those of the ViTs that come with nnU-Net (Primus), the exponent is nnU-Net's.
    """

    needs_pretrained_weights = False
    base_lr = 3e-4
    weight_decay_masam = 0.05
    lr_exponent = 0.9


def train_everything(rules: PlanningRules) -> PlanningRules:
    """``rules`` with nothing frozen: random weights that stay as they are extract no features."""
    return replace(rules, arch_kwargs={**rules.arch_kwargs, "trainable": "all"})


class ShortRun:
    """Optimisation and augmentation of 2500 steps for a small encoder; precedes the trainer among the bases of a class.

    Rotations are small and nothing is mirrored: a short run learns faster without poses that do not occur, and
    inference without mirroring is four times as fast.
    """

    base_lr = 1e-3
    weight_decay_masam = 0.05
    warmup_steps = 50
    lr_exponent = 0.9
    epochs = 50
    steps_per_epoch = 50
    validation_steps_per_epoch = 5
    rotation_degrees = 15.0
    mirror_axes = ()
