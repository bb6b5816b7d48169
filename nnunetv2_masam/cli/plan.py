"""``nnUNetv2_masam plan``: write plans for MA-SAM beside a baseline's, and preprocess what is missing."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from nnunetv2_masam.planning import PLANS_NAME, PlanningRules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Names as in nnU-Net's own planning commands."""
    parser.add_argument("-d", nargs="+", required=True, metavar="ID", help="data set IDs or names")
    parser.add_argument("-pl", default="MASAMPlanner", metavar="PLANNER", help="planner class [%(default)s]")
    parser.add_argument(
        "-tr", default="nnUNetTrainerMASAM", metavar="TRAINER", help="plan for this trainer [%(default)s]"
    )
    parser.add_argument("-base", default="nnUNetPlans", metavar="PLANS", help="plans of the baseline [%(default)s]")
    parser.add_argument(
        "-gpu_memory_target", type=float, metavar="GB", help="memory of one GPU [the trainer's default]"
    )
    parser.add_argument(
        "-overwrite_plans_name", default=PLANS_NAME, metavar="NAME", help="name of the plans written [%(default)s]"
    )
    parser.add_argument(
        "-c",
        nargs="+",
        metavar="CONFIGURATION",
        help="configurations to preprocess where that is missing [3d_fullres, or 2d where there is no 3d_fullres]",
    )
    parser.add_argument("--no_pp", action="store_true", help="write the plans only, preprocess nothing")
    parser.add_argument("--explain", action="store_true", help="also print every plan beside its alternatives")
    parser.add_argument("-np", type=int, default=None, metavar="N", help="processes for preprocessing")


def run(args: argparse.Namespace) -> int:
    """Plan, preprocess what is missing, and print what was decided."""
    from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id, maybe_convert_to_dataset_name

    from nnunetv2_masam.catalogue import class_names, find_planner, find_trainer, trainers_folder

    planner_class = find_planner(args.pl)
    rules = getattr(find_trainer(args.tr), "rules", None)
    if not isinstance(rules, PlanningRules):
        raise ValueError(
            f"-tr: {args.tr} is not a MA-SAM trainer; take one of {', '.join(class_names(trainers_folder()))}"
        )
    processes = args.np or min(8, os.cpu_count() or 1)
    for dataset in args.d:
        name = maybe_convert_to_dataset_name(int(dataset) if dataset.isdigit() else dataset)
        dataset_id = convert_dataset_name_to_id(name)
        _extract_fingerprint_if_missing(dataset_id, name, processes)
        planner = planner_class(
            name, gpu_memory_target_in_gb=args.gpu_memory_target, plans_name=args.overwrite_plans_name
        )
        planner.rules, planner.baseline = rules, args.base
        plans = planner.plan_experiment()
        wanted = args.c or ["3d_fullres" if "3d_fullres" in plans["configurations"] else "2d"]
        if not args.no_pp:
            _preprocess_missing(dataset_id, name, args.base, plans, wanted, processes)
        for configuration in plans["configurations"]:
            print(_describe(configuration, plans["configurations"][configuration]))
            if args.explain and "patch_size" in plans["configurations"][configuration]:
                print(planner.explain(configuration))
        if args.explain:
            print("GB: predicted. speed: slices per second over the plan's, from counting operations, not measured")
        print(f"train with: nnUNetv2_train {name} {wanted[0]} FOLD -tr {args.tr} -p {args.overwrite_plans_name}")
    return 0


def _extract_fingerprint_if_missing(dataset_id: int, name: str, processes: int) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints
    from nnunetv2.paths import nnUNet_preprocessed

    if not (Path(str(nnUNet_preprocessed)) / name / "dataset_fingerprint.json").is_file():
        extract_fingerprints([dataset_id], num_processes=processes, check_dataset_integrity=True)


def _preprocess_missing(
    dataset_id: int, name: str, baseline: str, plans: dict[str, Any], wanted: list[str], processes: int
) -> None:
    """Run nnU-Net's preprocessing, with the baseline's plans, for wanted configurations that lack a case.

    Raises:
        ValueError: a wanted configuration is not in the plans.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    unknown = [c for c in wanted if c not in plans["configurations"]]
    if unknown:
        raise ValueError(f"-c: got {', '.join(unknown)}, the plans have {', '.join(plans['configurations'])}")
    cases = set(get_filenames_of_train_images_and_targets(str(Path(str(nnUNet_raw)) / name)))
    missing = []
    for configuration in wanted:
        identifier = plans["configurations"][configuration].get("data_identifier")
        folder = Path(str(nnUNet_preprocessed)) / name / str(identifier)
        done = {file.stem for file in folder.glob("*.pkl")}
        if identifier is None or cases <= done:
            print(f"{name}, {configuration}: uses the preprocessed data in {folder}")
        else:
            missing.append(configuration)
    if missing:
        preprocess_dataset(dataset_id, baseline, missing, num_processes=[processes])


def _describe(name: str, configuration: dict[str, Any]) -> str:
    if "patch_size" not in configuration:
        return f"{name}: as {configuration.get('inherits_from')}"
    architecture = configuration["architecture"]["arch_kwargs"]
    return (
        f"{name}: patch {tuple(configuration['training_patch_size'])} voxels, network input "
        f"{tuple(architecture['image_size'])} pixels, ViT {architecture['vit']}, {configuration['batch_size']} samples "
        f"a step, {configuration['micro_batch_size']} at once, about {configuration['predicted_vram_gb']} GB; "
        f"predicts tiles of {tuple(configuration['patch_size'])} voxels"
    )
