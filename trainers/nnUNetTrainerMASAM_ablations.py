"""nnUNetTrainerMASAM with one thing changed: what each part of MA-SAM contributes.

All are ViT-B; plans, effective batch size and number of steps are those of ``nnUNetTrainerMASAM``.
"""

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerMASAM_noAdapters(MASAMTrainer):
    """No 3D adapters: FacT and the decoder are trained, every slice is segmented on its own."""

    rules = PlanningRules(vit="vit_b", arch_kwargs={"adapter_channels": 0})


class nnUNetTrainerMASAM_noFacT(MASAMTrainer):
    """No FacT: the adapters and the decoder are trained, the attention is SAM's."""

    rules = PlanningRules(vit="vit_b", arch_kwargs={"fact_rank": 0})


class nnUNetTrainerMASAM_decoder(MASAMTrainer):
    """SAM's image encoder as it is, every slice on its own; only the decoder is trained."""

    rules = PlanningRules(vit="vit_b", arch_kwargs={"trainable": "decoder", "fact_rank": 0, "adapter_channels": 0})


class nnUNetTrainerMASAM_all(MASAMTrainer):
    """Nothing is frozen, at the rate at which MedSAM trains all of SAM's weights."""

    rules = PlanningRules(vit="vit_b", arch_kwargs={"trainable": "all"})
    base_lr = 1e-4


class nnUNetTrainerMASAM_scratch(nnUNetTrainerMASAM_all):
    """The same network without SAM's weights, at rate and weight decay of nnU-Net's own ViTs and nnU-Net's decay."""

    needs_sam_weights = False
    base_lr = 3e-4
    weight_decay_masam = 0.05
    lr_exponent = 0.9
