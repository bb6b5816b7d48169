"""Pretrained recipes without their weights: what the weights give, on the same network, data and number of steps.

Everything is trained, because random weights that stay frozen are no features, at rate and weight decay of nnU-Net's
own ViTs and with nnU-Net's decay.
"""

from nnUNetTrainerMADINO import nnUNetTrainerMADINO
from nnUNetTrainerMASAM import (
    nnUNetTrainerMASAM,
    nnUNetTrainerMASAM_efficientS,
    nnUNetTrainerMASAM_efficientTi,
    nnUNetTrainerMASAM_H,
    nnUNetTrainerMASAM_L,
    nnUNetTrainerMASAM_slim50,
    nnUNetTrainerMASAM_slim77,
)
from nnUNetTrainerMASAM_box import nnUNetTrainerMASAM_box

from nnunetv2_masam.training.recipes import FromScratch, train_everything


class nnUNetTrainerMASAM_scratch(FromScratch, nnUNetTrainerMASAM):
    """ViT-B from random weights."""

    rules = train_everything(nnUNetTrainerMASAM.rules)


class nnUNetTrainerMASAM_L_scratch(FromScratch, nnUNetTrainerMASAM_L):
    """ViT-L from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_L.rules)


class nnUNetTrainerMASAM_H_scratch(FromScratch, nnUNetTrainerMASAM_H):
    """ViT-H from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_H.rules)


class nnUNetTrainerMASAM_slim50_scratch(FromScratch, nnUNetTrainerMASAM_slim50):
    """SlimSAM-50's ViT from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_slim50.rules)


class nnUNetTrainerMASAM_slim77_scratch(FromScratch, nnUNetTrainerMASAM_slim77):
    """SlimSAM-77's ViT from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_slim77.rules)


class nnUNetTrainerMASAM_efficientTi_scratch(FromScratch, nnUNetTrainerMASAM_efficientTi):
    """EfficientSAM-Ti's ViT from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_efficientTi.rules)


class nnUNetTrainerMASAM_efficientS_scratch(FromScratch, nnUNetTrainerMASAM_efficientS):
    """EfficientSAM-S's ViT from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_efficientS.rules)


class nnUNetTrainerMASAM_box_scratch(FromScratch, nnUNetTrainerMASAM_box):
    """ViT-B with a box prompt from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_box.rules)


class nnUNetTrainerMADINO_scratch(FromScratch, nnUNetTrainerMADINO):
    """DINOv3's ViT-B from random weights."""

    rules = train_everything(nnUNetTrainerMADINO.rules)
