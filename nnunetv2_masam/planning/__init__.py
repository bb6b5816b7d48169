"""Plan MA-SAM from a configuration of nnU-Net's plans: patch, network input and batch size, by pure functions.

nnU-Net's plans (``nnUNetPlans``, ResEnc plans, any others) set spacing, normalisation and resampling, and their
preprocessed data are used as they are. This package decides the rest, in this order:

- ``in_plane.py``: the patch, whole slices where they are not too large, and the size that the network sees it at;
- ``memory.py``: what a training step needs, by formula; ``timm_size.py`` has the sizes of timm's encoders;
- ``fit.py``: micro-batch size, gradient checkpointing and, at last, a smaller network input, so that the
  memory target holds;
- ``cost.py``: arithmetic operations of a training step, by which ``--explain`` compares plans;
- ``tile_depth.py``: slices that prediction takes at once;
- ``configuration.py``: the configuration that is written;
- ``explain.py``: the choice beside its alternatives;
- ``plan_dataset.py``: all of it for a dataset, with fingerprint and preprocessing where they are missing.

``nnUNetv2_masam plan`` and the trainers, which plan in memory for plans that are not ours, both call
:func:`plan_configuration`.
"""

from nnunetv2_masam.planning.configuration import (
    check_whole_numbers,
    plan_configuration,
    replan,
)
from nnunetv2_masam.planning.explain import explain_configuration
from nnunetv2_masam.planning.rules import MIN_SLICES, PLANS_NAME, PlanningRules

__all__ = [
    "MIN_SLICES",
    "PLANS_NAME",
    "PlanningRules",
    "check_whole_numbers",
    "explain_configuration",
    "plan_configuration",
    "replan",
]
