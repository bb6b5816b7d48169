"""What LiteMedSAM's weights give on hippocampus MRI, on a CPU: ablations, and the number of training cases.

    python benchmarks/litemedsam.py --data Dataset004_Hippocampus --workspace FOLDER

``--data`` is the dataset in the raw layout of nnU-Net. A run is a stock training of 150 steps with a seed, and one file
in ``benchmarks/results/litemedsam-hippocampus``; runs that are there are skipped, so the same command resumes, and
``--recipes``, ``--seeds`` and ``--training-cases`` choose some. The validation cases are those of fold 0, also where a
training has fewer cases. ``table.md`` there has the runs that are finished.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from environment import describe_environment
from workspace import CONFIGURATION, call, prepare, set_environment

from nnunetv2_masam.files import read_json, write_json, write_text

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "results" / "litemedsam-hippocampus"
TRAINER = "nnUNetTrainerMASAM_lite_short"
RECIPES = {  # what is trained
    "full": "FacT, adapters, decoder",
    "scratch": "everything, from random weights",
    "all": "everything",
    "noFacT": "adapters, decoder",
    "noAdapters": "FacT, decoder",
    "decoder": "decoder",
}
SEEDS = (1, 2, 3)
FEW = (4, 8, 16)  # training cases; fold 0 has all others
ALL = 25


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="default: all")
    parser.add_argument("--seeds", type=int, nargs="+", choices=SEEDS, default=SEEDS, help="default: all")
    parser.add_argument(
        "--training-cases", type=int, nargs="+", choices=(*FEW, ALL), default=(ALL,), help=f"default: {ALL}"
    )
    args = parser.parse_args()
    workspace = args.workspace.resolve()
    set_environment(workspace, workers=1)
    dataset, number = prepare(args.data)
    folds = fold_numbers(workspace / "preprocessed" / dataset, number)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for cases in args.training_cases:
            for recipe in args.recipes:
                target = OUTPUT / f"{recipe}-{cases}cases-seed{seed}.json"
                if not target.is_file():
                    write_json(target, run(workspace, dataset, number, recipe, seed, folds[cases]))
                write_text(OUTPUT / "table.md", table(OUTPUT.glob("*.json")))


def fold_numbers(preprocessed: Path, number: str) -> dict[int, int]:
    """The fold for each number of training cases; few-shot folds are appended where they are missing."""
    splits_file = preprocessed / "splits_final.json"
    if not splits_file.is_file() or len(read_json(splits_file, list)) == 5:
        words = ["few-shot", "-d", number, "-k", *map(str, FEW), "--folds", "0"]
        subprocess.run([sys.executable, "-m", "nnunetv2_masam.cli", *words], check=True)
    splits = read_json(splits_file, list)
    return {len(split["train"]): fold for fold, split in enumerate(splits) if split["val"] == splits[0]["val"]}


def run(workspace: Path, dataset: str, number: str, recipe: str, seed: int, fold: int) -> dict[str, object]:
    """Train and validate one recipe with one seed; Dice over the validation cases."""
    results = workspace / "litemedsam" / f"seed{seed}"
    results.mkdir(parents=True, exist_ok=True)
    os.environ["nnUNet_results"], os.environ["MASAM_SEED"] = str(results), str(seed)
    trainer = TRAINER if recipe == "full" else f"{TRAINER}_{recipe}"
    folder = results / dataset / f"{trainer}__nnUNetPlans__{CONFIGURATION}" / f"fold_{fold}"
    if not (folder / "validation" / "summary.json").is_file():
        resume = ["--c"] if any(folder.glob("checkpoint_*.pth")) else []
        call("nnUNetv2_train", number, CONFIGURATION, str(fold), "-tr", trainer, "-device", "cpu", *resume)
    summary = read_json(folder / "validation" / "summary.json", dict)
    split = read_json(workspace / "preprocessed" / dataset / "splits_final.json", list)[fold]
    return {
        "environment": describe_environment(),
        "trainer": trainer,
        "seed": seed,
        "training_cases": len(split["train"]),
        "validation_cases": len(summary["metric_per_case"]),
        "dice": summary["foreground_mean"]["Dice"],
        "dice_by_case": {
            Path(case["prediction_file"]).name.split(".")[0]: statistics.mean(
                m["Dice"] for m in case["metrics"].values()
            )
            for case in summary["metric_per_case"]
        },
        "cost": read_json(folder / "masam_cost.json", dict),
    }


def table(files: Iterable[Path]) -> str:
    """A row for each recipe and number of training cases: trained parameters, mean Dice and that of each seed."""
    runs: dict[tuple[str, int], dict[int, dict]] = {}
    for path in files:
        found = read_json(path, dict)
        runs.setdefault((path.name.split("-")[0], found["training_cases"]), {})[found["seed"]] = found
    lines = [
        "| trained | training cases | trained parameters | mean Dice % | of each seed |",
        "|---|---|---|---|---|",
    ]
    for recipe, cases in sorted(runs, key=lambda key: (-key[1], list(RECIPES).index(key[0]))):
        by_seed = dict(sorted(runs[recipe, cases].items()))
        dice = [100 * found["dice"] for found in by_seed.values()]
        trained = next(iter(by_seed.values()))["cost"]["trained_parameters"] / 1e6
        each = ", ".join(f"{value:.1f}" for value in dice)
        lines.append(f"| {RECIPES[recipe]} | {cases} | {trained:.2f} M | {statistics.mean(dice):.1f} | {each} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
