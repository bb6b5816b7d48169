"""What limits a training, against what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunetv2_masam.planning import PlanningRules, plan_configuration
from nnunetv2_masam.planning.throughput import (
    augmentation_core_s,
    coarser_hint,
    describe_limits,
    predict_limit,
    step_cost,
    two_digits,
)

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
MEASURED = json.loads((RESULTS / "augmentation-cpu.json").read_text("utf-8"))["samples"]
BASELINES = json.loads((RESULTS / "baseline-plans.json").read_text("utf-8"))["plans"]


def planned(name: str, num_classes: int) -> dict:
    baseline = BASELINES[name]["configurations"]["3d_fullres"]
    return plan_configuration(baseline, PlanningRules(), num_classes, vram_gb=80.0)


@pytest.mark.parametrize("name", MEASURED)
def test_augmentation_is_predicted_within_a_fifth(name):
    entry = MEASURED[name]["MASAMTrainer"]
    predicted = augmentation_core_s(entry["patch"], entry["channels"], entry["labels"])
    # a patch of a few thousand voxels costs less than the draws of random numbers
    assert predicted == pytest.approx(entry["core_seconds"], rel=0.2, abs=0.001)


def test_a_sample_of_512_pixels_takes_less_than_eight_hundredths_of_a_core_second():
    """The 5 x 512 x 512 patches of abdominal CT, with 13 and 15 organs."""
    for name in ("Dataset017_BTCV", "Dataset219_AMOS"):
        assert MEASURED[name]["MASAMTrainer"]["patch"] == [5, 512, 512]
        assert MEASURED[name]["MASAMTrainer"]["core_seconds"] < 0.08


def test_workers_balance_augmentation_and_gpu():
    cost = step_cost(planned("Dataset017_BTCV", 14), 14)
    workers = cost.workers(989.0)
    assert cost.augmentation_core_s / workers <= cost.gpu_s(989.0) < cost.augmentation_core_s / (workers - 1)
    assert cost.gpu_s(312.0) == pytest.approx(cost.gpu_s(989.0) * 989 / 312)


def test_large_frames_are_named_and_the_hint_ends_them():
    video = planned("Dataset018_EndoVis", 12)
    text = describe_limits(video, 12)
    assert "1040 x 1280 voxels" in text
    assert "416 x 512" in text
    assert "--longest-side 512" in text
    assert coarser_hint(planned("Dataset017_BTCV", 14)) is None
    reduced = {**BASELINES["Dataset018_EndoVis"]["configurations"]["3d_fullres"]}
    reduced["median_image_size_in_voxels"] = [149.0, 410.0, 512.0]
    small = plan_configuration(reduced, PlanningRules(), 12, vram_gb=80.0)
    assert coarser_hint(small) is None
    assert step_cost(small, 12).augmentation_core_s < step_cost(video, 12).augmentation_core_s / 5
    assert augmentation_core_s(small["training_patch_size"], 3, 12) < 0.15


def test_small_costs_keep_two_digits():
    assert [two_digits(x) for x in (0.0, 0.000123, 0.0512, 0.51, 3.24, 69.6, 405.4)] == [
        "0.0", "0.00012", "0.051", "0.51", "3.2", "70", "405",
    ]  # fmt: skip
    small = {**planned("Dataset017_BTCV", 14), "training_patch_size": [5, 20, 20]}
    assert "0.0 core-seconds" not in describe_limits(small, 14)


def test_the_log_names_the_limit_of_this_machine():
    plan = planned("Dataset017_BTCV", 14)
    workers = step_cost(plan, 14).workers(989.0)
    assert "The GPU will limit it" in predict_limit(plan, 14, workers, "NVIDIA H100 80GB HBM3")
    starved = predict_limit(plan, 14, 1, "NVIDIA H100 80GB HBM3")
    assert f"The data will limit it; {workers} workers balance both" in starved
    assert "with no data workers. How fast this device computes is not known" in predict_limit(plan, 14, 0, None)
