"""``nnUNetv2_masam plan``: write plans for MA-SAM beside a baseline's, and preprocess what is missing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nnunetv2_masam.cli.arguments import add_dataset, add_processes, group, positive_number

if TYPE_CHECKING:
    from nnunetv2_masam.planning.plan_dataset import PlannedDataset, PlanRequest

EPILOG = """\
  nnUNetv2_masam plan -d 4
  nnUNetv2_masam plan -d 4 -tr nnUNetTrainerMASAM_H -gpu_memory_target 24 -overwrite_plans_name nnUNetMASAMPlans_24G
  nnUNetv2_masam plan -d 4 -gpu_memory_target 11 -overwrite_plans_name nnUNetMASAMPlans_11G --no_pp --explain
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Names as in nnU-Net's own planning commands."""
    parser.epilog = EPILOG
    add_dataset(parser, "Numbers or names of the datasets", nargs="+")
    add = group(parser, "plans").add_argument
    add(
        "-tr",
        "--trainer",
        default="nnUNetTrainerMASAM",
        metavar="TRAINER",
        help="Plan for this trainer (default: %(default)s)",
    )
    add(
        "-gpu_memory_target",
        type=positive_number,
        metavar="GB",
        help="Memory of one GPU in GB (default: the trainer's)",
    )
    add(
        "-base",
        "--baseline",
        default="nnUNetPlans",
        metavar="PLANS",
        help="Plans of the baseline (default: %(default)s)",
    )
    add("-pl", "--planner", default="MASAMPlanner", metavar="PLANNER", help="Planner class (default: %(default)s)")
    add("--explain", action="store_true", help="Print every plan beside its alternatives")
    add = group(parser, "output").add_argument
    add(
        "-overwrite_plans_name",
        default="nnUNetMASAMPlans",
        metavar="NAME",
        help="Name of the plans to write (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="Replace plans of that name that differ; never the baseline's")
    add = group(parser, "preprocessing").add_argument
    add(
        "-c",
        "--configurations",
        nargs="+",
        default=[],
        metavar="CONFIGURATION",
        help="Configurations to preprocess where that is missing (default: 3d_fullres, or 2d without a 3d_fullres)",
    )
    add("--no_pp", action="store_true", help="Write the plans only, preprocess nothing")
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    """Plan, preprocess what is missing, and print what was decided."""
    from nnunetv2_masam.planning.plan_dataset import PlanRequest, plan_dataset

    for dataset in args.dataset:
        request = PlanRequest(
            dataset,
            trainer=args.trainer,
            planner=args.planner,
            baseline=args.baseline,
            gpu_memory_target_gb=args.gpu_memory_target,
            plans_name=args.overwrite_plans_name,
            configurations=tuple(args.configurations),
            preprocess=not args.no_pp,
            processes=args.processes,
            overwrite=args.overwrite,
            explain=args.explain,
        )
        _report(plan_dataset(request), request)
    return 0


def _report(planned: PlannedDataset, request: PlanRequest) -> None:
    for configuration, folder in planned.preprocessed.items():
        print(f"{planned.name}, {configuration}: uses the preprocessed data in {folder}")
    for name, configuration in planned.plans["configurations"].items():
        print(_describe(name, configuration))
        if name in planned.explanations:
            print(planned.explanations[name])
    if request.explain:
        print("GB: predicted. speed: slices per second over the plan's, from counting operations, not measured")
    print(f"written: {planned.plans_file}")
    train = f"nnUNetv2_train {planned.name} {planned.configurations[0]} FOLD"
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
