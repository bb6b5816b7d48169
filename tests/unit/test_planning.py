"""Planning arithmetic: numbers in, numbers out."""

from __future__ import annotations

import json

import pytest
import torch

from nnunetv2_masam.network import MASAM, resolve_vit
from nnunetv2_masam.planning import (
    NETWORK_CLASS,
    PlanningRules,
    count_parameters,
    estimate_vram_gb,
    is_masam_configuration,
    plan_configuration,
    plan_in_plane,
    plan_memory,
    replan,
)


def baseline(shape, patch=None):
    return {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "median_image_size_in_voxels": shape,
        "patch_size": patch or shape,
        "batch_size": 2,
        "spacing": [1.0] * len(shape),
        "batch_dice": False,
        "architecture": {"network_class_name": "PlainConvUNet", "arch_kwargs": {}},
    }


@pytest.mark.parametrize(
    ("extent", "patch", "image_size"),
    [
        ((512, 512), (512, 512), (512, 512)),  # abdominal CT
        ((1024, 1280), (512, 512), (512, 512)),  # video: patches of a frame
        ((320, 320), (320, 320), (512, 512)),
        ((50, 36), (52, 36), (208, 144)),  # small: four pixels a voxel, whole tokens
        ((256, 216), (256, 216), (512, 432)),
        ((10, 300), (19, 300), (32, 512)),  # at least one token of 16 voxels
    ],
)
def test_in_plane(extent, patch, image_size):
    assert plan_in_plane(extent, PlanningRules()) == (patch, image_size)


@pytest.mark.parametrize("extent", [(5, 5), (17, 90), (100, 101), (511, 513), (2000, 30)])
@pytest.mark.parametrize("rules", [PlanningRules(), PlanningRules(max_upsampling=3.0, max_image_side=256)])
def test_in_plane_keeps_its_bounds(extent, rules):
    patch, image_size = plan_in_plane(extent, rules)
    for side, pixels, voxels in zip(patch, image_size, extent, strict=True):
        assert pixels % 16 == 0
        assert 16 <= pixels <= rules.max_image_side
        assert 16 <= side <= rules.max_patch_side
        assert side >= min(voxels, rules.max_patch_side)
    # the same enlargement along both sides, to within a token
    factor = min(rules.max_upsampling, rules.max_image_side / max(patch))
    for side, pixels in zip(patch, image_size, strict=True):
        assert abs(side * factor - pixels) <= 16


def test_configuration_keeps_what_the_baseline_decided():
    before = baseline([148.0, 512.0, 512.0])
    planned = plan_configuration(before, PlanningRules(), num_classes=14)
    assert planned["data_identifier"] == "nnUNetPlans_3d_fullres"
    assert planned["spacing"] == [1.0, 1.0, 1.0]
    assert planned["patch_size"] == [5, 512, 512]
    assert planned["batch_size"] == 24
    assert planned["batch_dice"] is True
    assert planned["batch_size"] % planned["micro_batch_size"] == 0
    assert planned["predicted_vram_gb"] <= 8
    assert is_masam_configuration(planned)
    assert not is_masam_configuration(before)
    assert planned["architecture"]["network_class_name"] == NETWORK_CLASS
    json.dumps(planned)


def test_few_slices_are_padded_and_2d_has_one():
    assert plan_configuration(baseline([3, 64, 64]), PlanningRules(), 2)["patch_size"] == [5, 64, 64]
    assert plan_configuration(baseline([64, 64]), PlanningRules(), 2)["patch_size"] == [64, 64]


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


@pytest.mark.parametrize("vit", ["vit_t", "vit_b", "vit_l", "vit_h"])
def test_parameter_count_is_the_networks(vit):
    with torch.device("meta"):
        network = MASAM(1, 14, vit=vit, image_size=(512, 512))
    total = sum(p.numel() for p in network.parameters())
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    counted = count_parameters(resolve_vit(vit), 14, (512, 512), fact_rank=32, adapter_channels=384)
    assert counted == (pytest.approx(total, rel=0.01), pytest.approx(trained, rel=0.01))


def test_memory_grows_with_all_that_costs_memory():
    base = {"vit": "vit_b", "image_size": (256, 256)}
    estimate = estimate_vram_gb(base, 5, 3)
    assert estimate < estimate_vram_gb(base, 10, 3)
    assert estimate < estimate_vram_gb({**base, "image_size": (512, 512)}, 5, 3)
    assert estimate < estimate_vram_gb({**base, "vit": "vit_l"}, 5, 3)
    assert estimate < estimate_vram_gb(base, 5, 30)
    assert estimate < estimate_vram_gb({**base, "trainable": "all"}, 5, 3)
    assert estimate > estimate_vram_gb({**base, "gradient_checkpointing": True}, 5, 3)


def test_memory_target_decides_micro_batch_then_checkpointing_then_refuses():
    large = {"vit": "vit_h", "image_size": (512, 512)}
    kwargs, micro_batch = plan_memory(large, 5, 14, 24, vram_gb=80)
    assert micro_batch > 1
    assert "gradient_checkpointing" not in kwargs
    kwargs, micro_batch = plan_memory(large, 5, 14, 24, vram_gb=8)
    assert micro_batch == 1
    assert kwargs["gradient_checkpointing"] is True
    with pytest.raises(ValueError, match="target of 4 GB is too small"):
        plan_memory(large, 5, 14, 24, vram_gb=4)


def test_rules_refuse_too_few_slices():
    with pytest.raises(ValueError, match="slices: got 3"):
        PlanningRules(slices=3)
