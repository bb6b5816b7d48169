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


class nnUNetTrainerMASAM_kernel5(MASAMTrainer):
    """Adapters see two slices on either side at once: kernel 5 along the slices in place of 3."""

    rules = PlanningRules(vit="vit_b", arch_kwargs={"adapter_kernel": 5})


class nnUNetTrainerMASAM_dilation2(MASAMTrainer):
    """Adapters see every other slice: kernel 3 along the slices, dilation 2, as many parameters as without."""

    rules = PlanningRules(vit="vit_b", arch_kwargs={"adapter_dilation": 2})


class nnUNetTrainerMASAM_9slices(MASAMTrainer):
    """Nine slices a sample in place of five; the network is the same."""

    rules = PlanningRules(vit="vit_b", slices=9)
