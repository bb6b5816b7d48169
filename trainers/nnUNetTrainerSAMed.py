"""SAMed (Zhang and Liu 2023, arXiv:2304.13785) over the same machinery: LoRA in place of FacT, slices on their own.

Network, optimiser and schedule are SAMed's; loss, augmentation and length are those of ``nnUNetTrainerMASAM``.
"""

from dataclasses import replace

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


class nnUNetTrainerSAMed_H(nnUNetTrainerSAMed):
    """SAMed_h: ViT-H, LoRA of rank 4, decay exponent 7, stopped at three quarters of the schedule as the authors do."""

    rules = replace(nnUNetTrainerSAMed.rules, vit="vit_h", vram_gb=24.0)
    lr_exponent = 7.0
    schedule_epochs = 213  # 160 is three quarters of it, as 300 epochs are of their 400
