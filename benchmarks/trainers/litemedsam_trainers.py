"""Trainers of ``litemedsam.py``: ``nnUNetTrainerMASAM_lite``, its ablations and its control, in 150 steps on a CPU."""

from __future__ import annotations

from nnUNetTrainerMASAM_lite import (
    nnUNetTrainerMASAM_lite,
    nnUNetTrainerMASAM_lite_all,
    nnUNetTrainerMASAM_lite_decoder,
    nnUNetTrainerMASAM_lite_noAdapters,
    nnUNetTrainerMASAM_lite_noFacT,
    nnUNetTrainerMASAM_lite_scratch,
)


class Short:
    """Length of all of them, and a decoder that starts at random; stands before the recipe as a base."""

    pretrained_decoder = False
    epochs = 3
    steps_per_epoch = 50
    validation_steps_per_epoch = 1
    warmup_steps = 20


class nnUNetTrainerMASAM_lite_short(Short, nnUNetTrainerMASAM_lite):
    """FacT, adapters and decoder are trained; the rest is LiteMedSAM's."""


class nnUNetTrainerMASAM_lite_short_noAdapters(Short, nnUNetTrainerMASAM_lite_noAdapters):
    """FacT and decoder are trained."""


class nnUNetTrainerMASAM_lite_short_noFacT(Short, nnUNetTrainerMASAM_lite_noFacT):
    """Adapters and decoder are trained."""


class nnUNetTrainerMASAM_lite_short_decoder(Short, nnUNetTrainerMASAM_lite_decoder):
    """Only the decoder is trained."""


class nnUNetTrainerMASAM_lite_short_all(Short, nnUNetTrainerMASAM_lite_all):
    """Everything is trained, from LiteMedSAM's weights."""


class nnUNetTrainerMASAM_lite_short_scratch(Short, nnUNetTrainerMASAM_lite_scratch):
    """Everything is trained, from random weights."""
