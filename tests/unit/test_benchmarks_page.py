"""docs/benchmarks.md says what the result files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text()


def result(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}-cpu.json").read_text())


@pytest.mark.parametrize("processor", ["", "epyc/"])
def test_forward_pass(processor):
    measured = result(f"{processor}forward")
    medians, ratios = measured["median_seconds"], measured["times_as_fast_as_theirs"]
    theirs, ours = (medians[f"{side} float32"] for side in ("theirs", "ours"))
    assert f"| {theirs:.1f} s | {ours:.1f} s, {ratios['ours float32']:.2f} times as fast |" in PAGE
    assert f"| {medians['ours bfloat16']:.1f} s, {ratios['ours bfloat16']:.2f} times as fast |" in PAGE
    assert measured["largest_difference_of_largest_logit"]["ours float32"] < 1e-5


def test_largest_difference_of_logits():
    found = [result(f"{processor}forward")["largest_difference_of_largest_logit"] for processor in ("", "epyc/")]
    assert f"| {max(side['ours float32'] for side in found):.0e} |" in PAGE


@pytest.mark.parametrize("processor", ["", "epyc/"])
def test_training_step(processor):
    measured = result(f"{processor}train-step")
    seconds, ratios = measured["median_seconds"], measured["times_as_fast_as_theirs"]
    ours = ("ours", "ours checkpointed")
    times = " | ".join(f"{seconds[side]:.1f} s, {ratios[side]:.2f} times as fast" for side in ours)
    assert f"| {seconds['theirs']:.1f} s | {times} |" in PAGE
    peaks, shares = measured["median_peak_gb"], measured["share_of_their_memory"]
    memory = " | ".join(f"{peaks[side]:.2f} GB, {shares[side]:.0%}" for side in ours)
    assert f"| {peaks['theirs']:.2f} GB | {memory} |".replace("%", " %") in PAGE


def test_kernels():
    parts = {
        "step": {
            "training step": ("plain", "adapters recomputed", "attention by parts", "linear by convolution", "fast")
        },
        "forward": {
            "forward pass": ("plain", "linear by convolution", "all slices at once", "fast"),
            "3 blocks, 40 slices": ("plain", "all slices at once", "fast"),
        },
    }
    for part, tasks in parts.items():
        for task, sides in tasks.items():
            for side in sides:
                found = result(f"kernels-{part}")[task][side]
                memory = f"{found['peak_gb']:.2f} | {found['share_of_plain_memory']:.0%} |"
                assert f"{found['median_seconds']:.1f} | {memory}".replace("%", " %") in PAGE


def test_compiled():
    for task in ("forward pass", "forward and backward pass"):
        found = result("compiled")[task]
        seconds = " | ".join(f"{found['median_seconds'][side]:.1f} s" for side in ("plain", "compiled", "auto"))
        assert f"| {task} | {seconds} | {found['seconds_of_the_first_run']['compiled']:.0f} s |" in PAGE


def test_volume():
    medians, ratios = (result("volume")[key] for key in ("median_seconds", "times_as_fast_as_theirs"))
    for side, seconds in medians.items():
        assert f"| {side} | {seconds:.0f} s | {ratios[side]:.1f} |" in PAGE
    limit = result("volume")["limit_of_one_deep_tile"]
    assert f"rate of a large product | {limit['seconds']:.0f} s | {limit['times_as_fast_as_theirs']:.1f} |" in PAGE


def test_operations():
    measured = result("operations")
    columns = [measured[f"{side}, {task}"] for task in ("forward pass", "training step") for side in ("theirs", "ours")]
    for kind in columns[0]["by_kind"]:
        assert f"| {kind} | {' | '.join(format(column['by_kind'][kind], '.2f') for column in columns)} |" in PAGE
    assert f"| together | {' | '.join(format(column['seconds'], '.2f') for column in columns)} |" in PAGE


def test_hippocampus():
    models = json.loads((ROOT / "benchmarks" / "results" / "hippocampus.json").read_text())["models"].values()
    for row in models:
        cells = (row["unseen_dice"], row["validation_dice"])
        told = " | ".join(f"{dice:.3f}" for dice in cells)
        assert f"{row['training_minutes']:.1f} min | {told} | {row['prediction_seconds_per_case']:.1f} s |" in PAGE


def test_ablations():
    assert (ROOT / "benchmarks" / "results" / "ablations-hippocampus" / "table.md").read_text() in PAGE
