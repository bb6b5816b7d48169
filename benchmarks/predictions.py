"""Predicted GPU memory of the trainers on datasets of several kinds: the table of the README.

    python benchmarks/predictions.py      # seconds; nothing is measured

Writes ``benchmarks/results/predictions.json`` and the table in ``README.md``. Plans come from nnU-Net's plans in
``benchmarks/results/baseline-plans.json``, memory from the planner's formula.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from environment import describe_environment
from parameters import full_length_trainers, replaced

from nnunetv2_masam.files import read_json, read_text, write_json, write_text
from nnunetv2_masam.planning import plan_configuration

BENCHMARKS = Path(__file__).resolve().parent
BASELINES = BENCHMARKS / "results" / "baseline-plans.json"
RESULT = BENCHMARKS / "results" / "predictions.json"
PAGE = BENCHMARKS.parent / "README.md"

# name in the table, nnU-Net's plans, configuration, output channels
DATASETS = (
    ("hippocampus MRI", "Dataset004_Hippocampus", "3d_fullres", 3),
    ("prostate MRI", "Dataset005_Prostate", "3d_fullres", 3),
    ("abdominal CT", "Dataset017_BTCV", "3d_fullres", 14),
)
TRAINERS = {
    "nnUNetTrainerMASAM_lite": "small images; LiteMedSAM's weights",
    "nnUNetTrainerMASAM_slim77": "small GPU; SlimSAM's weights",
    "nnUNetTrainerMASAM": "start here: CT or MRI, SAM's ViT-B",
    "nnUNetTrainerMASAM_L": "SAM's ViT-L",
    "nnUNetTrainerMASAM_H": "SAM's ViT-H",
    "nnUNetTrainerMASAM_paper": "the paper's experiment",
}


def main() -> None:
    """Predict and write."""
    result = {"environment": describe_environment(), "measured": False, "trainers": predictions()}
    write_json(RESULT, result)
    write_text(PAGE, replaced(read_text(PAGE), "predictions", table(result)))


def predictions(trainers: Iterable[str] = TRAINERS) -> dict[str, Any]:
    """Steps of a training, its memory target and the predicted memory in GB, by trainer and dataset."""
    plans = read_json(BASELINES)["plans"]
    catalogue = full_length_trainers()
    found: dict[str, Any] = {}
    for name in trainers:
        trainer = catalogue[name]
        found[name] = {"steps": trainer.epochs * trainer.steps_per_epoch, "memory_target_gb": trainer.rules.vram_gb}
        for label, dataset, configuration, num_classes in DATASETS:
            planned = plan_configuration(plans[dataset]["configurations"][configuration], trainer.rules, num_classes)
            found[name][label] = {"predicted_vram_gb": planned["predicted_vram_gb"]}
    return found


def table(result: dict[str, Any]) -> str:
    """A row for each trainer."""
    labels = [label for label, *_ in DATASETS]
    heads = ["`-tr`", "for", "memory target, GB", *(f"{label}, GB" for label in labels)]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, row in result["trainers"].items():
        memory = [row[label]["predicted_vram_gb"] for label in labels]
        cells = [f"`{name}`", TRAINERS[name], f"{row['memory_target_gb']:.0f}", *(f"{gb:.1f}" for gb in memory)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
