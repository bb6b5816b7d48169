"""Plans for data sets of every kind: the documentation's tables, and what nnU-Net asks of a patch."""

from __future__ import annotations

import json

import pytest
from nnunetv2.configuration import ANISO_THRESHOLD

from benchmarks.plan_datasets import BASELINES, DOCS, END, START, baselines, make_tables
from nnunetv2_masam.planning import MIN_SLICES, PlanningRules, replan

PLANS = json.loads(BASELINES.read_text())["plans"]


def test_the_documentation_has_the_tables_of_today():
    documented = DOCS.read_text().split(START)[1].split(END)[0]
    assert documented.strip() == make_tables(PLANS).strip()


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("vit", ["vit_b", "vit_h"])
def test_patches_suit_nnunets_augmentation(name, vit):
    """At least four slices, and thin enough that nnU-Net augments them in plane."""
    for target in (8, 80):
        planned = replan(PLANS[name], PlanningRules(vit=vit), 4, vram_gb=target)
        for configuration in planned["configurations"].values():
            patch = configuration["training_patch_size"]
            if len(patch) == 3:
                assert patch[0] >= MIN_SLICES
                assert max(patch) / patch[0] > ANISO_THRESHOLD


def test_nnunet_plans_the_same_baseline_today():
    """From the one fingerprint that was extracted from images; the others take nnU-Net's planner minutes."""
    name = "Dataset004_Hippocampus"
    assert baselines([name])[name] == PLANS[name]
