"""MA-SAM's adaptation and decoder over SAM 2's image encoder, Hiera, from a file of timm or of Meta."""

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.scratch import FromScratch, train_everything
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerMASAM_hiera(MASAMTrainer):
    """SAM 2's Hiera-T with FacT and one 3D adapter a block; MASAM_CHECKPOINT names its weights."""

    rules = PlanningRules(encoder="timm:sam2_hiera_tiny", max_image_side=448)  # windows of 14 tokens are whole


class nnUNetTrainerMASAM_hiera_scratch(FromScratch, nnUNetTrainerMASAM_hiera):
    """SAM 2's Hiera-T from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_hiera.rules)
