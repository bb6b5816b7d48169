"""The authors' experiment under nnU-Net: their network, input, loss, optimiser, schedule and effective batch size.

What stays nnU-Net's: spacing, intensity normalisation, augmentation, patch sampling and inference.
"""

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.loss import MASAMLoss
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerMASAM_paper(MASAMTrainer):
    """ViT-H, 5 x 512 x 512, batch size 24; 300 epochs of a schedule for 400, which is 40 000 steps on BTCV."""

    rules = PlanningRules(vit="vit_h", slices=5, image_size=(512, 512), vram_gb=80.0, predict_in_stacks=True)
    epochs = 160
    schedule_epochs = 213  # 160 is three quarters of it, as 300 epochs are of the authors' 400
    gradient_clip = None
    supports_regions = False

    def _build_loss(self) -> MASAMLoss:
        return MASAMLoss(ignore_label=self.label_manager.ignore_label)


class nnUNetTrainerMASAM_paper_5epochs(nnUNetTrainerMASAM_paper):
    """For trying things out."""

    epochs = 5
