"""Trainers of ``ablations.py``: the ablations of ``trainers/nnUNetTrainerMASAM_ablations.py`` with the small ViT.

All take the same 200 steps on the plans of ``nnUNetTrainerMASAM_tiny``, from random weights. What is trained, and the
ratio of the learning rates, are those of the ablations; the rates and the schedule are the tiny recipe's, because the
published ones are meant for SAM's weights and 40 000 steps.
"""

from __future__ import annotations

from dataclasses import replace

from nnUNetTrainerMASAM_tiny import nnUNetTrainerMASAM_tiny

_ARCHITECTURE = {"fact_rank": 32, "adapter_channels": 48}


class nnUNetTrainerMASAM_t_full(nnUNetTrainerMASAM_tiny):
    """FacT, adapters and decoder are trained; the encoder stays random."""

    rules = replace(nnUNetTrainerMASAM_tiny.rules, arch_kwargs=_ARCHITECTURE)
    epochs = 4


class nnUNetTrainerMASAM_t_noAdapters(nnUNetTrainerMASAM_t_full):
    """FacT and decoder are trained."""

    rules = replace(nnUNetTrainerMASAM_tiny.rules, arch_kwargs={**_ARCHITECTURE, "adapter_channels": 0})


class nnUNetTrainerMASAM_t_noFacT(nnUNetTrainerMASAM_t_full):
    """Adapters and decoder are trained."""

    rules = replace(nnUNetTrainerMASAM_tiny.rules, arch_kwargs={**_ARCHITECTURE, "fact_rank": 0})


class nnUNetTrainerMASAM_t_decoder(nnUNetTrainerMASAM_t_full):
    """Only the decoder is trained."""

    rules = replace(
        nnUNetTrainerMASAM_tiny.rules, arch_kwargs={"trainable": "decoder", "fact_rank": 0, "adapter_channels": 0}
    )


class nnUNetTrainerMASAM_t_all(nnUNetTrainerMASAM_t_full):
    """Everything is trained, at an eighth of the rate, as 1e-4 is of 8e-4."""

    rules = replace(nnUNetTrainerMASAM_tiny.rules, arch_kwargs={**_ARCHITECTURE, "trainable": "all"})
    base_lr = nnUNetTrainerMASAM_tiny.base_lr / 8


class nnUNetTrainerMASAM_t_scratch(nnUNetTrainerMASAM_t_all):
    """Everything is trained, at three eighths of the rate, as 3e-4 is of 8e-4."""

    base_lr = nnUNetTrainerMASAM_tiny.base_lr * 3 / 8
