"""The named recipes, and their networks at a size for tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.training.trainer import MASAMTrainer
from tests.conftest import TINY_VIT

sys.path.append(str(Path(__file__).resolve().parents[1] / "trainers"))

from nnUNetTrainerMASAM import nnUNetTrainerMASAM
from nnUNetTrainerMASAM_ablations import (
    nnUNetTrainerMASAM_all,
    nnUNetTrainerMASAM_decoder,
    nnUNetTrainerMASAM_noAdapters,
    nnUNetTrainerMASAM_noFacT,
)
from nnUNetTrainerMASAM_paper import nnUNetTrainerMASAM_paper
from nnUNetTrainerMASAM_scratch import nnUNetTrainerMASAM_scratch
from nnUNetTrainerSAMed import nnUNetTrainerSAMed, nnUNetTrainerSAMed_H

# recipe: what it trains of the image encoder
TRAINED: dict[type[MASAMTrainer], set[str]] = {
    nnUNetTrainerMASAM: {"fact", "adapter"},
    nnUNetTrainerMASAM_noAdapters: {"fact"},
    nnUNetTrainerMASAM_noFacT: {"adapter"},
    nnUNetTrainerMASAM_decoder: set(),
    nnUNetTrainerMASAM_all: {"fact", "adapter", "sam"},
    nnUNetTrainerMASAM_scratch: {"fact", "adapter", "sam"},
    nnUNetTrainerSAMed: {"lora"},
}
RECIPES = list(TRAINED)
BY_NUMBERS = (nnUNetTrainerMASAM_paper, nnUNetTrainerSAMed_H)  # the same parts in another size and for another length


def part_of_encoder(name: str) -> str:
    """Which of the parts in :data:`TRAINED` a parameter of the image encoder belongs to."""
    for part in name.split("."):
        for kind in ("fact", "lora", "adapter"):
            if part == kind or part.startswith(f"{kind}_"):
                return kind
    return "sam"


def small_arch_kwargs(recipe: type[MASAMTrainer]) -> dict[str, Any]:
    """The recipe's arguments of the network, but for the widths that it leaves at their defaults."""
    return {"fact_rank": 4, "adapter_channels": 8, **recipe.rules.arch_kwargs}


def small_network(recipe: type[MASAMTrainer], **changes: Any) -> MASAM:
    """The recipe's network with two blocks, for one channel, three classes and 64 x 64 pixels."""
    arguments = {"vit": TINY_VIT, "image_size": (64, 64), **small_arch_kwargs(recipe), **changes}
    return MASAM(1, 3, **arguments)
