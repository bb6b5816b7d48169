"""``nnUNetv2_masam plan``: write plans for MA-SAM beside a baseline's."""

from __future__ import annotations

import argparse
from typing import Any

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.nnunet_files import dataset_number
from nnunetv2_masam.planning.plan_dataset import PlannedDataset, PlanRequest, plan_dataset


def plan(args: argparse.Namespace) -> int:
    """Plan, and print what was decided."""
    for dataset in args.dataset:
        request = request_from(args, PlanRequest, dataset=dataset)
        _report(plan_dataset(request), request)
    return 0


def _report(planned: PlannedDataset, request: PlanRequest) -> None:
    for name, configuration in planned.plans["configurations"].items():
        print(_describe(name, configuration))
        if name in planned.explanations:
            print(planned.explanations[name])
    if request.explain:
        print("GB: predicted. speed: slices per second over the plan's, from counting operations, not measured")
    print(f"written: {planned.plans_file}")
    first = "3d_fullres" if "3d_fullres" in planned.plans["configurations"] else "2d"
    data = planned.plans["configurations"][first].get("data_identifier", "")
    if not (planned.plans_file.parent / data).is_dir():
        preprocess = f"nnUNetv2_preprocess -d {dataset_number(planned.name)} -plans_name {request.baseline} -c {first}"
        print(f"preprocess with: {preprocess}")
    train = f"nnUNetv2_train {planned.name} {first} FOLD"
    print(f"train with: {train} -tr {request.trainer} -p {request.plans_name}")


def _describe(name: str, configuration: dict[str, Any]) -> str:
    if "patch_size" not in configuration:
        return f"{name}: as {configuration.get('inherits_from')}"
    architecture = configuration["architecture"]["arch_kwargs"]
    encoder = architecture.get("encoder") or f"ViT {architecture['vit']}"
    return (
        f"{name}: patch {tuple(configuration['training_patch_size'])} voxels, network input "
        f"{tuple(architecture['image_size'])} pixels, {encoder}, effective batch size "
        f"{configuration['batch_size']} in micro-batches of {configuration['micro_batch_size']}, about "
        f"{configuration['predicted_vram_gb']} GB; predicts tiles of {tuple(configuration['patch_size'])} voxels"
    )


PLAN = Command(
    "Write nnUNetMASAMPlans.json for a dataset",
    plan,
    PlanRequest,
    """\
  nnUNetv2_masam plan -d 4
  nnUNetv2_masam plan -d 4 -tr nnUNetTrainerMASAM_H -gpu_memory_target 24 -overwrite_plans_name nnUNetMASAMPlans_24G
  nnUNetv2_masam plan -d 4 -gpu_memory_target 11 -overwrite_plans_name nnUNetMASAMPlans_11G --explain
""",
)
