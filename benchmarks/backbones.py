"""Every backbone in one table: parameters, operations, predicted memory, and measured CPU seconds a slice.

    python benchmarks/backbones.py            # 6 minutes at most; what is measured already is kept
    python benchmarks/backbones.py --again    # measure everything anew

One stack of 5 slices of 512 x 512, as in MA-SAM's paper: memory is the planner's prediction, parameters and operations
are counted on tensors without content, and seconds of prediction are the median of the runs that fit into a backbone's
share of the time, at least one after a warm-up. Every backbone runs in a process of its own, and the result file is
written after each. Writes ``benchmarks/results/backbones-cpu.json`` and the table in ``docs/models.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from environment import describe_environment
from step_memory import without_content

from nnunetv2_masam import trainers
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.planning.configuration import network_arguments
from nnunetv2_masam.planning.cost import count_operations
from nnunetv2_masam.planning.memory import MicroBatch, gpu_gb

BENCHMARKS = Path(__file__).resolve().parent
RESULT = BENCHMARKS / "results" / "backbones-cpu.json"
PAGE = BENCHMARKS.parent / "docs" / "models.md"
START, END = "<!-- backbones -->\n", "<!-- end of backbones -->"
SECTION = f"""## Backbones

One stack of 5 x 512 x 512 voxels, one input channel, 14 output channels
([backbones-cpu.json](../benchmarks/results/backbones-cpu.json), written by `benchmarks/backbones.py`). Operations are
those of a forward pass for one slice, a multiplication and an addition counting as two. GPU memory is predicted for a
training step of one stack, without gradient checkpointing. Seconds were measured in prediction on a CPU.

{START}{END}

"""
BEFORE = "## Ablations\n"

SLICES, IMAGE_SIZE, NUM_CLASSES = 5, (512, 512), 14
BUDGET_S = 20.0  # of a backbone, for its runs after the first
RECIPES = (
    "nnUNetTrainerMASAM_tiny",
    "nnUNetTrainerMASAM_lite",
    "nnUNetTrainerMASAM_mobile",
    "nnUNetTrainerMASAM_efficientTi",
    "nnUNetTrainerMASAM_slim77",
    "nnUNetTrainerMASAM_efficientS",
    "nnUNetTrainerMASAM_slim50",
    "nnUNetTrainerMASAM",
    "nnUNetTrainerMADINO",
    "nnUNetTrainerMASAM_L",
    "nnUNetTrainerMASAM_H",
)


def main() -> None:
    """Measure what is missing, backbone by backbone, or, called by itself, one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    parser.add_argument("--recipe", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.recipe:
        print(json.dumps(describe(args.recipe) | {"cpu_seconds_per_slice": measure(args.recipe)}))
        return
    known: dict[str, Any] = {}
    if RESULT.is_file() and not args.again:
        known = json.loads(RESULT.read_text(encoding="utf-8"))["backbones"]
    for recipe in RECIPES:
        if recipe not in known:
            command = [sys.executable, __file__, "--recipe", recipe]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            known[recipe] = json.loads(done.stdout.splitlines()[-1])
            print(recipe, known[recipe], flush=True)
        settings = {"slices": SLICES, "image_size": IMAGE_SIZE, "num_classes": NUM_CLASSES, "budget_s": BUDGET_S}
        content = {"environment": describe_environment(), "settings": settings, "backbones": known}
        RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), known), encoding="utf-8")


def arguments(recipe: str) -> dict[str, Any]:
    """The network's arguments of a recipe at this size."""
    rules: PlanningRules = getattr(trainers, recipe).rules
    return {**network_arguments(rules), "image_size": list(IMAGE_SIZE)}


def describe(recipe: str) -> dict[str, Any]:
    """Parameters, operations and predicted memory; nothing is computed."""
    arch_kwargs, batch = arguments(recipe), MicroBatch(SLICES, IMAGE_SIZE, num_classes=NUM_CLASSES)
    network = without_content(arch_kwargs, batch)
    parameters = list(network.parameters())
    operations = count_operations(arch_kwargs, SLICES, NUM_CLASSES)
    return {
        "backbone": arch_kwargs.get("encoder", arch_kwargs.get("vit")),
        "parameters": sum(p.numel() for p in parameters),
        "trained": sum(p.numel() for p in parameters if p.requires_grad),
        "gigaflop_per_slice": round(operations.forward / SLICES / 1e9, 1),
        "predicted_training_gb": round(gpu_gb(arch_kwargs, batch), 2),
    }


def measure(recipe: str) -> float:
    """Median seconds of a stack in prediction, for a slice."""
    torch.manual_seed(0)
    network = MASAM(1, NUM_CLASSES, **arguments(recipe)).eval()
    stack = torch.rand(1, 1, SLICES, *IMAGE_SIZE)
    seconds: list[float] = []
    with torch.inference_mode():
        network(stack[:, :, :1])  # warm-up
        while not seconds or sum(seconds) + seconds[-1] < BUDGET_S:
            started = time.perf_counter()
            network(stack)
            seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds) / SLICES, 3)


def table(backbones: dict[str, Any]) -> str:
    """A row for each backbone that was measured."""
    lines = [
        "| `-tr` | backbone | parameters | trained | GFLOP a slice | GPU memory | CPU seconds a slice |",
        "|---|---|---|---|---|---|---|",
    ]
    for recipe in filter(backbones.__contains__, RECIPES):
        row = backbones[recipe]
        millions = " | ".join(f"{row[key] / 1e6:.1f} M" for key in ("parameters", "trained"))
        lines.append(
            f"| `{recipe}` | {row['backbone']} | {millions} | {row['gigaflop_per_slice']:.1f} | "
            f"{row['predicted_training_gb']:.1f} GB | {row['cpu_seconds_per_slice']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def with_table(page: str, backbones: dict[str, Any]) -> str:
    """``page`` with the table between its comments; the section is added where it is missing."""
    if START not in page:
        before, after = page.split(BEFORE)
        page = f"{before}{SECTION}{BEFORE}{after}"
    before, rest = page.split(START)
    _, after = rest.split(END)
    return f"{before}{START}{table(backbones)}{END}{after}"


if __name__ == "__main__":
    main()
