"""Predicted GPU memory and training time of the trainers on datasets of several kinds: the table of the README.

    python benchmarks/predictions.py      # seconds; nothing is measured

Writes ``benchmarks/results/predictions.json`` and the table in ``README.md``. Plans come from the baseline plans in
``benchmarks/results/baseline-plans.json``, memory and operations from the planner's formulas, and hours from what
limits a step, the GPU or the data workers, as :mod:`nnunetv2_masam.planning.throughput` predicts it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from environment import describe_environment
from parameters import full_length_trainers, replaced

from nnunetv2_masam.files import read_json, read_text, write_json, write_text
from nnunetv2_masam.planning import plan_configuration
from nnunetv2_masam.planning.throughput import PEAK_TFLOPS, SUSTAINED_SHARE, step_cost

BENCHMARKS = Path(__file__).resolve().parent
BASELINES = BENCHMARKS / "results" / "baseline-plans.json"
RESULT = BENCHMARKS / "results" / "predictions.json"
PAGE = BENCHMARKS.parent / "README.md"

# name in the table, baseline plans, configuration, output channels
DATASETS = (
    ("hippocampus MRI", "Dataset004_Hippocampus", "3d_fullres", 3),
    ("prostate MRI", "Dataset005_Prostate", "3d_fullres", 3),
    ("abdominal CT", "Dataset017_BTCV", "3d_fullres", 14),
)
TRAINERS = {
    "nnUNetTrainerMASAM_slim77": "small GPU; SlimSAM's weights",
    "nnUNetTrainerMASAM": "start here: CT or MRI, SAM's ViT-B",
    "nnUNetTrainerMASAM_L": "SAM's ViT-L",
    "nnUNetTrainerMASAM_H": "SAM's ViT-H",
    "nnUNetTrainerMASAM_paper": "the paper's experiment",
}
MEMORY_GB = {"RTX 3090": 24, "A100": 80, "H100": 80}
HOURS_OF = "abdominal CT"
DATA_WORKERS = 12  # nnU-Net's default


def main() -> None:
    """Predict and write."""
    result = {
        "environment": describe_environment(),
        "measured": False,
        "sustained_share_of_peak": SUSTAINED_SHARE,
        "data_workers": DATA_WORKERS,
        "peak_tflops": {gpu: PEAK_TFLOPS[gpu] for gpu in MEMORY_GB},
        "trainers": predictions(),
    }
    write_json(RESULT, result)
    write_text(PAGE, replaced(read_text(PAGE), "predictions", table(result)))


def predictions(trainers: Iterable[str] = TRAINERS) -> dict[str, Any]:
    """Memory in GB, operations and hours by trainer and dataset."""
    plans = read_json(BASELINES)["plans"]
    catalogue = full_length_trainers()
    found: dict[str, Any] = {}
    for name in trainers:
        trainer = catalogue[name]
        found[name] = {"steps": trainer.epochs * trainer.steps_per_epoch, "memory_target_gb": trainer.rules.vram_gb}
        for label, dataset, configuration, num_classes in DATASETS:
            planned = plan_configuration(plans[dataset]["configurations"][configuration], trainer.rules, num_classes)
            cost = step_cost(planned, num_classes)
            loading_s = cost.augmentation_core_s / DATA_WORKERS
            seconds = {gpu: max(loading_s, cost.gpu_s(PEAK_TFLOPS[gpu])) for gpu in MEMORY_GB}
            hours = {gpu: found[name]["steps"] * step_s / 3600 for gpu, step_s in seconds.items()}
            found[name][label] = {
                "predicted_vram_gb": planned["predicted_vram_gb"],
                "tflop_per_step": round(cost.tflop, 2),
                "hours": {gpu: round(value, 1) for gpu, value in hours.items()},
            }
    return found


def table(result: dict[str, Any]) -> str:
    """A row for each trainer; hours are left out where a training does not fit the GPU."""
    labels = [label for label, *_ in DATASETS]
    heads = ["memory target, GB", *(f"{label}, GB" for label in labels)]
    heads += [f"{HOURS_OF} on {gpu}, hours" for gpu in MEMORY_GB]
    lines = [f"| `-tr` | for | {' | '.join(heads)} |", f"|---|---|{'---|' * len(heads)}"]
    for name, row in result["trainers"].items():
        memory = [row[label]["predicted_vram_gb"] for label in labels]
        fits = {gpu: row[HOURS_OF]["predicted_vram_gb"] <= size for gpu, size in MEMORY_GB.items()}
        hours = [_rounded(row[HOURS_OF]["hours"][gpu]) if fits[gpu] else "too small" for gpu in MEMORY_GB]
        cells = [f"`{name}`", TRAINERS[name], f"{row['memory_target_gb']:.0f}", *(f"{gb:.1f}" for gb in memory), *hours]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _rounded(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"


if __name__ == "__main__":
    main()
