"""MA-SAM's adaptation and decoder over DINOv3's ViT-B, from a file of timm, of Meta or of MedDINOv3."""

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerMADINO(MASAMTrainer):
    """DINOv3's ViT-B with FacT and one 3D adapter a block; MASAM_CHECKPOINT names its weights."""

    rules = PlanningRules(encoder="timm:vit_base_patch16_dinov3_qkvb")
