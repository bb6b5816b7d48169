"""Recipes that stand for a published training have its numbers, in steps of ours."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from nnunetv2_masam.training.schedule import warmup_poly_lr
from nnunetv2_masam.training.trainer import MASAMTrainer
from tests.recipes import nnUNetTrainerMASAM_paper, nnUNetTrainerSAMed, nnUNetTrainerSAMed_H


@dataclass
class Published:
    """A network and its optimisation, from the authors' code: AdamW, a warm-up of 250 steps and a batch size of 24."""

    vit: str
    rank: int
    learning_rate: float
    exponent: float
    epochs: int
    stopped_at: int


PUBLISHED: dict[type[MASAMTrainer], Published] = {
    nnUNetTrainerMASAM_paper: Published("vit_h", 32, 8e-4, 7.0, 400, 300),
    nnUNetTrainerSAMed: Published("vit_b", 4, 5e-3, 0.9, 200, 160),
    nnUNetTrainerSAMed_H: Published("vit_h", 4, 5e-3, 7.0, 400, 300),
}


@pytest.mark.parametrize("recipe", PUBLISHED, ids=[recipe.__name__ for recipe in PUBLISHED])
def test_network_and_optimiser(recipe):
    published = PUBLISHED[recipe]
    arguments = {"fact_rank": 32, "lora_rank": 0, "adapter_channels": 384, **recipe.rules.arch_kwargs}
    assert recipe.rules.vit == published.vit
    if recipe is nnUNetTrainerMASAM_paper:
        assert (arguments["fact_rank"], arguments["lora_rank"]) == (published.rank, 0)
    else:
        assert (arguments["fact_rank"], arguments["lora_rank"]) == (0, published.rank)
        assert arguments["adapter_channels"] == 0  # every slice on its own
    assert recipe.base_lr == published.learning_rate
    assert recipe.weight_decay_masam == 0.1
    assert recipe.rules.batch_size == 24


@pytest.mark.parametrize("recipe", PUBLISHED, ids=[recipe.__name__ for recipe in PUBLISHED])
@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_learning_rate_after_a_part_of_the_training(recipe, done):
    published = PUBLISHED[recipe]
    steps = recipe.epochs * recipe.steps_per_epoch
    assert steps == 40_000
    total = recipe.schedule_epochs * recipe.steps_per_epoch
    ours = warmup_poly_lr(
        recipe.warmup_steps + round(done * steps), recipe.base_lr, recipe.warmup_steps, total, recipe.lr_exponent
    )
    theirs = published.learning_rate * (1 - done * published.stopped_at / published.epochs) ** published.exponent
    assert ours == pytest.approx(theirs, rel=0.04)  # a schedule has whole epochs: 213 for 213 1/3
    assert recipe.warmup_steps == 250
