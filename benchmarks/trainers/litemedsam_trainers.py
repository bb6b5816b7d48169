"""Trainers of ``litemedsam.py``: ``nnUNetTrainerMASAM_lite``, its ablations and its control, in 300 steps on a CPU.

A step has two samples of five slices, one pixel of network input per voxel.
"""

from __future__ import annotations

from dataclasses import replace

from nnUNetTrainerMASAM_lite import (
    nnUNetTrainerMASAM_lite,
    nnUNetTrainerMASAM_lite_all,
    nnUNetTrainerMASAM_lite_decoder,
    nnUNetTrainerMASAM_lite_noAdapters,
    nnUNetTrainerMASAM_lite_noFacT,
    nnUNetTrainerMASAM_lite_scratch,
)

from nnunetv2_masam.planning import PlanningRules


class Short:
    """Length and batch of all of them; stands before the recipe as a base."""

    epochs = 6
    steps_per_epoch = 50
    validation_steps_per_epoch = 1
    warmup_steps = 20


def small(rules: PlanningRules) -> PlanningRules:
    """``rules`` with the batch and the resolution of all of them."""
    return replace(rules, batch_size=2, max_upsampling=1.0)


class nnUNetTrainerMASAM_lite_short(Short, nnUNetTrainerMASAM_lite):
    """FacT, adapters and decoder are trained; the rest is LiteMedSAM's."""

    rules = small(nnUNetTrainerMASAM_lite.rules)


class nnUNetTrainerMASAM_lite_short_noAdapters(Short, nnUNetTrainerMASAM_lite_noAdapters):
    """FacT and decoder are trained."""

    rules = small(nnUNetTrainerMASAM_lite_noAdapters.rules)


class nnUNetTrainerMASAM_lite_short_noFacT(Short, nnUNetTrainerMASAM_lite_noFacT):
    """Adapters and decoder are trained."""

    rules = small(nnUNetTrainerMASAM_lite_noFacT.rules)


class nnUNetTrainerMASAM_lite_short_decoder(Short, nnUNetTrainerMASAM_lite_decoder):
    """Only the decoder is trained."""

    rules = small(nnUNetTrainerMASAM_lite_decoder.rules)


class nnUNetTrainerMASAM_lite_short_all(Short, nnUNetTrainerMASAM_lite_all):
    """Everything is trained, from LiteMedSAM's weights."""

    rules = small(nnUNetTrainerMASAM_lite_all.rules)


class nnUNetTrainerMASAM_lite_short_scratch(Short, nnUNetTrainerMASAM_lite_scratch):
    """Everything is trained, from random weights."""

    rules = small(nnUNetTrainerMASAM_lite_scratch.rules)
