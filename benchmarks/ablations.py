"""The five ablations of MA-SAM with a small ViT on hippocampus MRI, on a CPU: one fold, equal steps, three seeds.

    python benchmarks/ablations.py --workspace FOLDER      # after crossval_hippocampus.py with the same workspace

With ``--seeds`` several processes can share the work; nnU-Net gives each of them all cores, so set
``OMP_WAIT_POLICY=passive`` for that. Every run is one process and one file in
``benchmarks/results/ablations-hippocampus``; runs that are there are skipped, so the same command resumes.

Without SAM's weights the frozen parts of an encoder are random: the table says what the parts do to such a network at
this scale, and nothing about MA-SAM as published.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

from environment import describe_environment
from workspace import CONFIGURATION, call, set_environment

from nnunetv2_masam.files import read_json, write_json

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "results" / "ablations-hippocampus"
RECIPES = ("full", "noAdapters", "noFacT", "decoder", "all", "scratch")
SEEDS = (1, 2, 3)
DATASET, NUMBER, FOLD = "Dataset004_Hippocampus", "004", "0"


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", choices=SEEDS, default=SEEDS, help="only these")
    args = parser.parse_args()
    workspace = args.workspace.resolve()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for recipe in RECIPES:
            target = OUTPUT / f"{recipe}-seed{seed}.json"
            if not target.is_file():
                write_json(target, run(workspace, recipe, seed))
    if all((OUTPUT / f"{recipe}-seed{seed}.json").is_file() for recipe in RECIPES for seed in SEEDS):
        (OUTPUT / "table.md").write_text(table(), encoding="utf-8")


def run(workspace: Path, recipe: str, seed: int) -> dict[str, object]:
    """Train and validate one recipe with one seed; Dice over the cases of the fold."""
    set_environment(workspace, workers=1)
    results = workspace / "ablations" / f"seed{seed}"
    results.mkdir(parents=True, exist_ok=True)
    os.environ["nnUNet_results"], os.environ["MASAM_SEED"] = str(results), str(seed)
    trainer = f"nnUNetTrainerMASAM_t_{recipe}"
    fold = results / DATASET / f"{trainer}__nnUNetPlans__{CONFIGURATION}" / f"fold_{FOLD}"
    started = any(fold.glob("checkpoint_*.pth"))
    if not (fold / "validation" / "summary.json").is_file():
        call(
            "nnUNetv2_train",
            NUMBER,
            CONFIGURATION,
            FOLD,
            "-tr",
            trainer,
            "-device",
            "cpu",
            *(["--c"] if started else []),
        )
    summary = read_json(fold / "validation" / "summary.json")
    return {
        "environment": describe_environment(),
        "trainer": trainer,
        "seed": seed,
        "fold": int(FOLD),
        "cases": len(summary["metric_per_case"]),
        "dice": summary["foreground_mean"]["Dice"],
        "cost": read_json(fold / "masam_cost.json"),
    }


def table() -> str:
    """Mean, and smallest and largest of the seeds, by recipe."""
    lines = ["| recipe | trained parameters | mean Dice % | of each seed |", "|---|---|---|---|"]
    for recipe in RECIPES:
        runs = [read_json(OUTPUT / f"{recipe}-seed{seed}.json") for seed in SEEDS]
        dice = [100 * one["dice"] for one in runs]
        trained = runs[0]["cost"]["trained_parameters"]
        each = ", ".join(f"{value:.1f}" for value in dice)
        lines.append(f"| `{recipe}` | {trained / 1e6:.2f} M | {statistics.mean(dice):.1f} | {each} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
