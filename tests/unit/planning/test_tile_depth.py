"""Slices that prediction takes at once."""

from __future__ import annotations

import pytest
import torch

from benchmarks.step_memory import peak_of_allocations, trace_forward
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning import PlanningRules, plan_configuration
from nnunetv2_masam.planning.fit import Task
from nnunetv2_masam.planning.memory import MicroBatch
from nnunetv2_masam.planning.tile_depth import prediction_slices, slice_bytes
from tests.conftest import TINY_STAGES

VIT_B = {"vit": "vit_b", "image_size": [512, 512]}
TASK = Task(extent=(512, 512), slices=5, input_channels=1, num_classes=14)


def test_whole_images_where_memory_allows():
    assert prediction_slices(40, TASK, VIT_B, (512, 512), vram_gb=8) == 50
    assert prediction_slices(3, TASK, VIT_B, (512, 512), vram_gb=8) == 5


def test_memory_is_the_limit():
    slices = [prediction_slices(1000, TASK, VIT_B, (512, 512), vram_gb=gb) for gb in (1, 4, 8, 24)]
    assert slices[0] == 5
    assert slices == sorted(slices)
    assert slices[3] * slice_bytes(VIT_B, (512, 512), 1, 14) < 12 * 1024**3


def test_a_box_belongs_to_a_stack():
    assert prediction_slices(40, TASK, {**VIT_B, "prompt": "box"}, (512, 512), vram_gb=80) == 5


def test_a_recipe_may_keep_to_its_stacks():
    baseline = {
        "median_image_size_in_voxels": [40, 64, 64],
        "patch_size": [40, 64, 64],
        "normalization_schemes": ["ZScoreNormalization"],
    }
    planned = [plan_configuration(baseline, PlanningRules(predict_in_stacks=stacks), 2) for stacks in (False, True)]
    assert [p["patch_size"][0] for p in planned] == [50, 5]
    assert [p["training_patch_size"][0] for p in planned] == [5, 5]


def mirrored(network, volume):
    """The sum that nnU-Net's predictor forms."""
    logits = network(volume)
    logits += network(volume.flip(3)).flip(3)
    return logits


@pytest.mark.parametrize(
    ("embed_dim", "num_classes", "patch", "slices"),
    [(192, 2, (32, 32), 256), (384, 2, (32, 32), 256), (96, 40, (200, 200), 32)],  # attention, attention, logits
)
def test_bytes_of_a_slice_hold_against_the_allocator(embed_dim, num_classes, patch, slices):
    vit = {"embed_dim": embed_dim, "depth": 1, "num_heads": 6, "global_attn_indexes": [0]}
    arch_kwargs = {"vit": vit, "image_size": [96, 96], "adapter_channels": 16, "fact_rank": 4}
    network = MASAM(1, num_classes, **arch_kwargs).eval()
    network.kernels = "plain"  # as a GPU computes
    peaks = []
    for depth in (slices, 2 * slices):
        volume = torch.rand(1, 1, depth, *patch)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            peaks.append(peak_of_allocations(lambda volume=volume: mirrored(network, volume)))
    measured = (peaks[1] - peaks[0]) / slices
    assert measured == pytest.approx(slice_bytes(arch_kwargs, patch, 1, num_classes), rel=0.15)


def test_bytes_of_a_slice_in_a_hierarchical_encoder_hold_against_a_trace():
    arch_kwargs = {"vit": {**TINY_STAGES, "widths": [16, 64, 96]}, "image_size": [112, 84]}
    batches = [MicroBatch(slices, (112, 84)) for slices in (128, 160)]
    peaks = [trace_forward(arch_kwargs, batch, kernels="plain") for batch in batches]
    logits = 4 * 2 * 112 * 84  # of the passes before, which a single pass lacks
    assert (peaks[1] - peaks[0]) / 32 + logits == pytest.approx(slice_bytes(arch_kwargs, (112, 84), 1, 2), rel=0.15)


def test_bytes_of_a_slice_in_timms_blocks_hold_against_a_trace():
    arch_kwargs = {"encoder": "timm:vit_small_patch16_dinov3_qkvb", "image_size": [256, 192]}
    peaks = [trace_forward(arch_kwargs, MicroBatch(slices, (256, 192)), half=True) for slices in (16, 32)]
    logits = 4 * 2 * 256 * 192  # of the passes before, which a single pass lacks
    assert (peaks[1] - peaks[0]) / 16 + logits == pytest.approx(slice_bytes(arch_kwargs, (256, 192), 1, 2), rel=0.15)
