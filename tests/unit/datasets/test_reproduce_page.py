"""docs/reproduce.md: its figures are those of the result file, and what it names exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nnunetv2_masam.catalogue import class_names, trainers_folder
from nnunetv2_masam.folds.paper_splits import SPLITS

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reproduce.md").read_text()

A100_TERAFLOPS, UTILISATION, STEPS = 312, 0.3, 40_000


@pytest.mark.parametrize("vit", ["B", "L", "H"])
def test_hours_follow_from_the_counted_operations(vit: str) -> None:
    counts = json.loads((ROOT / "benchmarks" / "results" / "flops.json").read_text())["teraflop"][f"vit_{vit.lower()}"]
    steps = [counts["step"], counts["step_with_gradient_checkpointing"]]
    low, high = (STEPS * teraflop / (3600 * A100_TERAFLOPS * UTILISATION) for teraflop in steps)
    assert f"| ViT-{vit} | {steps[0]} | {steps[1]} | {low:.1f} to {high:.1f} |" in PAGE


def test_days_on_a_cpu_follow_from_the_measured_step() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "train-step-cpu.json").read_text())
    seconds = result["median_seconds"]["ours"]
    assert f"{seconds:.1f} s for a training step of one sample" in PAGE
    assert f"would take {STEPS * 24 * seconds / 86400:.0f} days" in PAGE


def test_trainers_and_splits_exist() -> None:
    named = set(re.findall(r"nnUNetTrainer\w+", PAGE))
    named = {name.partition("__")[0] for name in named} - set(re.findall(r"^class (\w+)", PAGE, re.MULTILINE))
    assert named <= set(class_names(trainers_folder()))
    assert set(re.findall(r"fixed-folds ([\w-]+)", PAGE)) <= set(SPLITS)


def test_every_row_of_the_btcv_table_has_a_command() -> None:
    rows = {
        "nnU-Net": "nnUNetTrainer",
        "3D UX-Net": "nnUNetTrainerUXNet3D",
        "SwinUNETR": "nnUNetTrainerSwinUNETR",
        "nnFormer": "nnUNetTrainerNNFormer",
        "SAMed_h": "nnUNetTrainerSAMed_H",
        "MA-SAM": "nnUNetTrainerMASAM_paper",
    }
    section = PAGE.partition("## BTCV")[2].partition("\n## ")[0]
    assert re.findall(r"^\| ([\w\- ]+) \| \d", section, re.MULTILINE) == list(rows)
    trained = re.search(r"for trainer in (.+?); do", section, re.DOTALL)[1]
    assert trained.replace("\\", "").split() == list(rows.values())
