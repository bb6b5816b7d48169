"""SAMed (Zhang and Liu 2023, arXiv:2304.13785) over the same machinery: LoRA in place of FacT, slices on their own.

Network, optimiser and schedule are SAMed's; loss, augmentation and length are those of ``nnUNetTrainerMASAM``.
"""

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerSAMed(MASAMTrainer):
    """ViT-B, LoRA of rank 4 on query and value, SAM's decoder at a quarter of the resolution."""

    rules = PlanningRules(
        vit="vit_b",
        arch_kwargs={"lora_rank": 4, "fact_rank": 0, "adapter_channels": 0, "decoder_doublings": 2},
    )
    base_lr = 5e-3
    lr_exponent = 0.9
    schedule_epochs = 200  # stopped at 160, as the authors do
