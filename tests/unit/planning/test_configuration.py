"""From a baseline's configuration to MA-SAM's, within a memory target."""

from __future__ import annotations

import json

import pytest

from nnunetv2_masam.planning import (
    PlanningRules,
    check_whole_numbers,
    explain_configuration,
    plan_configuration,
    replan,
)
from nnunetv2_masam.plans_file import NETWORK_CLASS, is_masam_configuration
from tests.conftest import TINY_STAGES

VITS = ("vit_t", "vit_b", "vit_l", "vit_h")


def baseline(shape, channels=1):
    return {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "median_image_size_in_voxels": shape,
        "patch_size": shape,
        "batch_size": 2,
        "spacing": [1.0] * len(shape),
        "normalization_schemes": ["ZScoreNormalization"] * channels,
        "batch_dice": False,
        "architecture": {"network_class_name": "PlainConvUNet", "arch_kwargs": {}},
    }


def arguments(planned):
    return planned["architecture"]["arch_kwargs"]


def test_configuration_keeps_what_the_baseline_decided():
    before = baseline([148.0, 512.0, 512.0])
    planned = plan_configuration(before, PlanningRules(), num_classes=14)
    assert planned["data_identifier"] == "nnUNetPlans_3d_fullres"
    assert planned["spacing"] == [1.0, 1.0, 1.0]
    assert planned["training_patch_size"] == [5, 512, 512]
    assert planned["batch_size"] == 24
    assert planned["batch_dice"] is True
    assert planned["predicted_vram_gb"] <= 8
    assert is_masam_configuration(planned)
    assert not is_masam_configuration(before)
    assert planned["architecture"]["network_class_name"] == NETWORK_CLASS
    json.dumps(planned)


def test_few_slices_are_padded_and_2d_has_one():
    for shape, patch in (([3, 64, 64], [5, 64, 64]), ([64, 64], [64, 64])):
        planned = plan_configuration(baseline(shape), PlanningRules(), 2)
        assert planned["training_patch_size"] == planned["patch_size"] == patch


def test_plans_whole():
    plans = {
        "plans_name": "nnUNetPlans",
        "configurations": {
            "3d_fullres": baseline([40, 128, 128]),
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }
    planned = replan(plans, PlanningRules(), 2)
    assert is_masam_configuration(planned["configurations"]["3d_fullres"])
    assert planned["configurations"]["3d_cascade_fullres"] == plans["configurations"]["3d_cascade_fullres"]
    assert not is_masam_configuration(plans["configurations"]["3d_fullres"])


def test_a_patch_of_its_own_beside_an_inherited_rest():
    """As nnU-Net's documentation changes a patch: the other keys come from the parent."""
    whole = baseline([40, 128, 128])
    plans = {
        "plans_name": "nnUNetPlans",
        "configurations": {"3d_fullres": whole, "3d_wide": {"inherits_from": "3d_fullres", "patch_size": [40, 96, 96]}},
    }
    planned = replan(plans, PlanningRules(), 2)["configurations"]
    assert planned["3d_wide"] == planned["3d_fullres"]  # the patch follows from the images and the rules


@pytest.mark.parametrize("vit", ["lite_medsam", "mobile_sam"])
@pytest.mark.parametrize("shape", [(36, 50, 35), (148, 512, 512)])
def test_hierarchical_encoders_have_a_plan(vit, shape):
    planned = plan_configuration(baseline(list(shape)), PlanningRules(vit=vit, max_image_side=256), 3, vram_gb=4)
    assert planned["predicted_vram_gb"] <= 4
    json.dumps(planned)


def test_sizes_of_a_hierarchical_encoder_are_written_and_checked():
    rules = PlanningRules(vit=TINY_STAGES, max_image_side=112)
    planned = json.loads(json.dumps(plan_configuration(baseline([36, 50, 35]), rules, 3)))
    assert arguments(planned)["vit"] == TINY_STAGES
    arguments(planned)["adapter_channels"] = None  # the encoder decides
    check_whole_numbers(planned, "edited")
    arguments(planned)["vit"]["widths"] = [8, 16.5, 24]
    with pytest.raises(ValueError, match=r"arch_kwargs\.vit\.widths: \[8, 16\.5, 24\], expected integers"):
        check_whole_numbers(planned, "edited")


@pytest.mark.parametrize("vit", VITS)
@pytest.mark.parametrize("target", [8, 11, 16, 24, 40, 80])
@pytest.mark.parametrize("shape", [(36, 50, 35), (20, 320, 320), (148, 512, 512), (149, 1024, 1280), (584, 565)])
def test_every_vit_has_a_plan_on_every_gpu(vit, target, shape):
    planned = plan_configuration(baseline(list(shape), channels=3), PlanningRules(vit=vit), 14, vram_gb=target)
    assert planned["predicted_vram_gb"] <= target
    assert planned["batch_size"] == 24
    assert 24 % planned["micro_batch_size"] == 0
    assert max(arguments(planned)["image_size"]) >= min(224, 4 * max(shape[-2:]))


def test_order_of_sacrifice():
    """Samples at once, then time, then pixels, then an error that tells what would do."""
    shape, rules = baseline([148, 512, 512]), PlanningRules(vit="vit_h")
    plans = {target: plan_configuration(shape, rules, 14, vram_gb=target) for target in (80, 40, 8, 6)}
    assert plans[80]["micro_batch_size"] > plans[40]["micro_batch_size"] >= 1
    assert "gradient_checkpointing" not in arguments(plans[40])
    assert arguments(plans[8])["gradient_checkpointing"] is True
    assert arguments(plans[8])["image_size"] == [512, 512]
    assert 224 <= max(arguments(plans[6])["image_size"]) < 512
    assert plans[6]["micro_batch_size"] == 1
    with pytest.raises(ValueError, match=r"target of 4 GB is too small.*\(224, 224\) pixels with vit_h"):
        plan_configuration(shape, rules, 14, vram_gb=4)


def test_a_small_gpu_is_kept_busy_before_time_is_saved():
    """Samples of small images go through with checkpointing rather than one at a time."""
    planned = plan_configuration(baseline([36, 50, 35]), PlanningRules(vit="vit_h"), 3, vram_gb=8)
    assert arguments(planned)["gradient_checkpointing"] is True
    tokens = 5 * (208 // 16) * (144 // 16)
    assert planned["micro_batch_size"] * tokens >= 4096


def test_what_the_recipe_fixes_stays():
    rules = PlanningRules(vit="vit_h", image_size=(512, 512))
    assert arguments(plan_configuration(baseline([50, 60, 60]), rules, 14, vram_gb=80))["image_size"] == [512, 512]
    with pytest.raises(ValueError, match="fixed by the trainer"):
        plan_configuration(baseline([50, 60, 60]), rules, 14, vram_gb=6)
    checkpointed = PlanningRules(arch_kwargs={"gradient_checkpointing": True})
    planned = plan_configuration(baseline([50, 60, 60]), checkpointed, 14, vram_gb=80)
    assert arguments(planned)["gradient_checkpointing"] is True


SHALLOW = {"embed_dim": 1280, "depth": 2, "num_heads": 16, "global_attn_indexes": [1]}


def test_explanation_shows_the_plan_and_its_alternatives():
    configuration = baseline([149, 1024, 1280], channels=3)
    rules = PlanningRules(vit=SHALLOW)
    header, plan, *others, hint = explain_configuration(configuration, rules, 4, vram_gb=2.2).splitlines()
    assert header.split()[0] == "patch"
    assert "416 x 512" in plan
    assert plan.split()[-3:] == ["1.00", "the", "plan"]
    without = next(row for row in others if "416 x 512" in row)
    speed, *note = without.split()[-3:]
    assert note == ["too", "large"]
    assert 1.3 < float(speed) < 1.5  # no checkpointing: a forward pass less of three
    smaller = [row for row in others if "416 x 512" not in row]
    assert len(smaller) == 4
    assert all(float(row.replace("too large", "").split()[-1]) > 1 for row in smaller)
    assert "1040 x 1280 voxels in plane" in hint
    assert "`convert ... --longest-side 512`" in hint
    assert "spacing of 2.5 x 2.5 " in hint


def test_frames_that_are_not_too_large_get_no_hint():
    rules = PlanningRules(vit="vit_t")
    explanation = explain_configuration(baseline([64, 64]), rules, 2)
    assert "the plan" in explanation
    assert "Reduce the images" not in explanation


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("batch_size",), 24.0, "'edited' have batch_size: 24.0, expected integers"),
        (("micro_batch_size",), "2", "micro_batch_size: '2'"),
        (("patch_size",), [5, 448.5, 448], r"patch_size: \[5, 448.5, 448\], expected integers"),
        (("architecture", "arch_kwargs", "image_size"), [512, True], r"architecture\.arch_kwargs\.image_size"),
        (("architecture", "arch_kwargs", "fact_rank"), 4.5, r"architecture\.arch_kwargs\.fact_rank: 4\.5"),
        (("architecture", "arch_kwargs", "vit"), {"embed_dim": 64.0}, r"arch_kwargs\.vit\.embed_dim: 64\.0"),
    ],
)
def test_decimals_in_edited_plans_are_refused_by_key(keys, value, message):
    planned = json.loads(json.dumps(plan_configuration(baseline([148.0, 512.0, 512.0]), PlanningRules(), 14)))
    check_whole_numbers(planned, "edited")
    edited = planned
    for key in keys[:-1]:
        edited = edited[key]
    edited[keys[-1]] = value
    with pytest.raises(ValueError, match=message):
        check_whole_numbers(planned, "edited")
