"""MA-SAM from SAM's weights: ViT-B, L and H, and shorter runs for trying things out.

40 000 steps of 24 samples, as many as the authors take on BTCV, with nnU-Net's loss and augmentation.
"""

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerMASAM(MASAMTrainer):
    """ViT-B."""

    rules = PlanningRules(vit="vit_b")


class nnUNetTrainerMASAM_L(MASAMTrainer):
    """ViT-L."""

    rules = PlanningRules(vit="vit_l", vram_gb=16.0)


class nnUNetTrainerMASAM_H(MASAMTrainer):
    """ViT-H."""

    rules = PlanningRules(vit="vit_h", vram_gb=24.0)


class nnUNetTrainerMASAM_slim50(MASAMTrainer):
    """SlimSAM-50: SAM's ViT-B pruned to half its width, for small GPUs."""

    rules = PlanningRules(vit="vit_slim50", vram_gb=4.0)


class nnUNetTrainerMASAM_slim77(MASAMTrainer):
    """SlimSAM-77: SAM's ViT-B pruned to a width of 168, for small GPUs and CPUs."""

    rules = PlanningRules(vit="vit_slim77", vram_gb=4.0, arch_kwargs={"adapter_channels": 84})


class nnUNetTrainerMASAM_efficientTi(MASAMTrainer):
    """EfficientSAM-Ti: a plain ViT of width 192 distilled from SAM; its encoder, MA-SAM's decoder."""

    rules = PlanningRules(vit="vit_efficient_ti", vram_gb=4.0, arch_kwargs={"adapter_channels": 96})


class nnUNetTrainerMASAM_efficientS(MASAMTrainer):
    """EfficientSAM-S: a plain ViT of width 384 distilled from SAM; its encoder, MA-SAM's decoder."""

    rules = PlanningRules(vit="vit_efficient_s", vram_gb=4.0)


class nnUNetTrainerMASAM_20epochs(nnUNetTrainerMASAM):
    """ViT-B, an eighth of the full run."""

    epochs = 20


class nnUNetTrainerMASAM_5epochs(nnUNetTrainerMASAM):
    """ViT-B, for trying things out."""

    epochs = 5


class nnUNetTrainerMASAM_1epoch(nnUNetTrainerMASAM):
    """ViT-B, one epoch, to see that everything runs."""

    epochs = 1
