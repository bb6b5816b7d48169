"""Slices that prediction takes at once."""

from __future__ import annotations

import pytest
import torch

from benchmarks.step_memory import peak_of_allocations
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning.fit import Task
from nnunetv2_masam.planning.prediction import prediction_slices, slice_bytes

VIT_B = {"vit": "vit_b", "image_size": [512, 512]}
TASK = Task(extent=(512, 512), slices=5, input_channels=1, num_classes=14)


def test_whole_images_where_memory_allows():
    assert prediction_slices(40, TASK, VIT_B, (512, 512), vram_gb=8) == 50
    assert prediction_slices(3, TASK, VIT_B, (512, 512), vram_gb=8) == 5


def test_memory_is_the_limit():
    slices = [prediction_slices(1000, TASK, VIT_B, (512, 512), vram_gb=gb) for gb in (1, 4, 8, 24)]
    assert slices[0] == 5
    assert slices == sorted(slices)
    assert slices[3] * slice_bytes(VIT_B, (512, 512), 14) < 12 * 1024**3


def test_a_box_belongs_to_a_stack():
    assert prediction_slices(40, TASK, {**VIT_B, "prompt": "box"}, (512, 512), vram_gb=80) == 5


@pytest.mark.parametrize(("num_classes", "patch"), [(2, (64, 64)), (40, (100, 100))])
def test_bytes_of_a_slice_hold_against_the_allocator(num_classes, patch):
    vit = {"embed_dim": 384, "depth": 1, "num_heads": 6, "global_attn_indexes": [0]}
    arch_kwargs = {"vit": vit, "image_size": [64, 64], "adapter_channels": 16, "fact_rank": 4}
    network = MASAM(1, num_classes, **arch_kwargs).eval()
    peaks = []
    for depth in (64, 128):
        volume = torch.rand(1, 1, depth, *patch)
        with torch.inference_mode():
            peaks.append(peak_of_allocations(lambda volume=volume: network(volume)))
    measured = (peaks[1] - peaks[0]) / 64
    assert measured == pytest.approx(slice_bytes(arch_kwargs, patch, num_classes), rel=0.15)
