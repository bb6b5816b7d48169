"""Plans for datasets of every kind, from their fingerprints alone: nnU-Net's and ours, the tables of docs/plans.md.

    python benchmarks/plan_datasets.py            # prints the tables
    python benchmarks/plan_datasets.py --write    # puts them into docs/plans.md
    python benchmarks/plan_datasets.py --baselines    # first runs nnU-Net's planner again

``benchmarks/fingerprints`` holds what nnU-Net's planner reads of a dataset: shapes, spacings, channels and labels,
with their source. No images are needed. What nnU-Net's planner makes of them is kept in
``benchmarks/results/baseline-plans.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "fingerprints"
BASELINES = Path(__file__).resolve().parent / "results" / "baseline-plans.json"
DOCS = Path(__file__).resolve().parents[1] / "docs" / "plans.md"
TARGETS_GB = (8, 24, 80)
START, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def main() -> None:
    """Print the tables or write them into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"replace the tables in {DOCS.name}")
    parser.add_argument("--baselines", action="store_true", help="run nnU-Net's planner again")
    parser.add_argument("--baseline", type=Path, help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args()
    if args.baseline:
        print(json.dumps(plan_baseline(args.baseline)))
        return
    if args.baselines or not BASELINES.is_file():
        from environment import describe_environment

        BASELINES.write_text(json.dumps({"environment": describe_environment(), "plans": baselines()}, indent=1) + "\n")
    tables = make_tables(json.loads(BASELINES.read_text())["plans"])
    if args.write:
        DOCS.write_text(replaced(DOCS.read_text(), tables))
    else:
        print(tables)


def replaced(text: str, tables: str) -> str:
    """``text`` with other tables between the marks."""
    head, rest = text.split(START)
    return f"{head}{START}\n{tables}{END}{rest.split(END)[1]}"


def baselines(names: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """nnU-Net's default plans by name of the dataset, each made in a process with folders of its own."""
    plans = {}
    for file in sorted(FOLDER.glob("*.json")):
        if names is not None and file.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            variables = {f"nnUNet_{kind}": f"{folder}/{kind}" for kind in ("raw", "preprocessed", "results")}
            command = [sys.executable, __file__, "--baseline", str(file)]
            done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{file.stem}: {done.stderr}")
        plans[file.stem] = json.loads(done.stdout.splitlines()[-1])
    return plans


def kept(plans: dict[str, Any]) -> dict[str, Any]:
    """The part of plans that ours are made from."""
    names = ("spacing", "median_image_size_in_voxels", "patch_size", "normalization_schemes")
    configurations = {
        configuration: {name: content[name] for name in names}
        for configuration, content in plans["configurations"].items()
        if "patch_size" in content
    }
    wanted = ("dataset_name", "plans_name", "label_manager", "transpose_forward")
    return {name: plans[name] for name in wanted} | {"configurations": configurations}


def plan_baseline(file: Path) -> dict[str, Any]:
    """nnU-Net's default plans for a fingerprint, made in the folders that the environment names."""
    import torch
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    content = json.loads(file.read_text())
    content["dataset_json"].update(  # in place of images
        dataset={"case": {"images": ["case_0000"], "label": "case"}}, overwrite_image_reader_writer="SimpleITKIO"
    )
    for kind, names in (("raw", ["dataset_json"]), ("preprocessed", ["dataset_json", "dataset_fingerprint"])):
        folder = Path(os.environ[f"nnUNet_{kind}"]) / file.stem
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name.replace('_json', '')}.json").write_text(json.dumps(content[name]))
    with contextlib.redirect_stdout(io.StringIO()), torch.device("meta"):  # its networks need no weights here
        plans = ExperimentPlanner(file.stem).plan_experiment()
    return kept(plans)


def make_tables(plans: dict[str, dict[str, Any]]) -> str:
    """Patches and network inputs, then memory at every target, in Markdown."""
    from nnunetv2_masam.planning import PlanningRules

    rules = PlanningRules()
    lines = [
        "| dataset | configuration | spacing | median | nnU-Net's patch | patch | network input | pixels a voxel "
        "| slices per tile in prediction, 8 GB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, configuration, planned), (_, _, small) in zip(
        _planned(plans, rules, vram_gb=80.0), _planned(plans, rules, vram_gb=8.0), strict=True
    ):
        before = plans[name]["configurations"][configuration]
        image_size = planned["architecture"]["arch_kwargs"]["image_size"]
        cells = [
            name.split("_", 1)[1],
            configuration,
            _times(f"{mm:.3g}" for mm in before["spacing"]),
            _times(round(n) for n in before["median_image_size_in_voxels"]),
            _times(before["patch_size"]),
            _times(planned["training_patch_size"]),
            _times(image_size),
            f"{image_size[0] / planned['patch_size'][-2]:.2f}",
            str(small["patch_size"][0]) if len(small["patch_size"]) == 3 else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for trainer, vit in (("nnUNetTrainerMASAM", "vit_b"), ("nnUNetTrainerMASAM_H", "vit_h")):
        lines += ["", f"`{trainer}`: micro-batch size x number, c with gradient checkpointing, predicted GB", ""]
        lines += [
            f"| dataset | configuration | {' | '.join(f'{gb} GB' for gb in TARGETS_GB)} |",
            f"|---|---|{'---|' * len(TARGETS_GB)}",
        ]
        columns = [list(_planned(plans, PlanningRules(vit=vit), vram_gb=float(gb))) for gb in TARGETS_GB]
        for row in zip(*columns, strict=True):
            name, configuration, largest = row[-1]
            cells = [_memory(planned, largest) for _, _, planned in row]
            lines.append(f"| {name.split('_', 1)[1]} | {configuration} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _planned(plans: dict[str, dict[str, Any]], rules: Any, vram_gb: float) -> list[tuple[str, str, dict[str, Any]]]:
    """(dataset, configuration, planned): 3d_fullres and what else there is for the largest, or 2d."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunetv2_masam.planning import replan

    rows = []
    for name, before in plans.items():
        dataset_json = json.loads((FOLDER / f"{name}.json").read_text())["dataset_json"]
        heads = PlansManager(before).get_label_manager(dataset_json).num_segmentation_heads
        planned = replan(before, rules, heads, vram_gb)["configurations"]
        shown = [c for c in ("3d_lowres", "3d_fullres") if c in planned] or ["2d"]
        rows += [(name, configuration, planned[configuration]) for configuration in shown]
    return rows


def _memory(planned: dict[str, Any], largest: dict[str, Any]) -> str:
    at_once = planned["micro_batch_size"]
    arch_kwargs, wanted = (plan["architecture"]["arch_kwargs"] for plan in (planned, largest))
    checkpointing = " c" if arch_kwargs.get("gradient_checkpointing") else ""
    smaller = "" if arch_kwargs["image_size"] == wanted["image_size"] else f" at {_times(arch_kwargs['image_size'])}"
    times = planned["batch_size"] // at_once
    return f"{at_once} x {times}{checkpointing}{smaller}, {planned['predicted_vram_gb']:.1f}"


def _times(numbers: Any) -> str:
    return " x ".join(str(n) for n in numbers)


if __name__ == "__main__":
    main()
