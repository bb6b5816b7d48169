"""Recipes on TinyViT train what they are named for."""

from __future__ import annotations

import pytest

from nnunetv2_masam import trainers
from nnunetv2_masam.network import MASAM
from tests.conftest import TINY_STAGES
from tests.recipes import part_of_encoder

# recipe: what it trains of the image encoder
TRAINED = {
    "lite": {"fact", "adapter"},
    "lite_noAdapters": {"fact"},
    "lite_noFacT": {"adapter"},
    "lite_decoder": set(),
    "lite_all": {"fact", "adapter", "sam"},
    "lite_scratch": {"fact", "adapter", "sam"},
    "lite_box": {"fact", "adapter"},
    "lite_box_scratch": {"fact", "adapter", "sam"},
    "mobile": {"fact", "adapter"},
    "mobile_scratch": {"fact", "adapter", "sam"},
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_recipe_trains_what_it_is_named_for(name):
    recipe = getattr(trainers, f"nnUNetTrainerMASAM_{name}")
    assert recipe.rules.vit == ("mobile_sam" if name.startswith("mobile") else "lite_medsam")
    assert recipe.needs_pretrained_weights == (not name.endswith("scratch"))
    channels = 2 if "box" in name else 1  # the last one is the box
    network = MASAM(channels, 3, vit=TINY_STAGES, image_size=(28, 28), **recipe.rules.arch_kwargs)
    trained = {part_of_encoder(n) for n, p in network.image_encoder.named_parameters() if p.requires_grad}
    assert trained == TRAINED[name]
    assert network.prompt == ("box" if "box" in name else "none")


def test_ablations_differ_from_the_recipe_in_one_thing():
    lite = trainers.nnUNetTrainerMASAM_lite
    for name in ("noAdapters", "noFacT", "decoder", "all"):
        ablation = getattr(trainers, f"nnUNetTrainerMASAM_lite_{name}")
        for number in ("base_lr", "weight_decay_masam", "warmup_steps", "lr_exponent", "epochs", "steps_per_epoch"):
            assert getattr(ablation, number) == getattr(lite, number)
        assert ablation.rules.arch_kwargs != lite.rules.arch_kwargs
        assert ablation.rules.batch_size == lite.rules.batch_size
