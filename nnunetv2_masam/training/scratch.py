"""Recipes without pretrained weights: the same network, data and number of steps from random ones."""

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
