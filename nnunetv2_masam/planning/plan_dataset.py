"""Plan a dataset: fingerprint, MA-SAM's plans beside nnU-Net's, and preprocessing where it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunetv2_masam.catalogue import class_names, find_masam_trainer, find_planner, planners_folder
from nnunetv2_masam.nnunet_files import (
    dataset_name,
    dataset_number,
    folder_of,
    preprocessed_dataset,
    raw_dataset,
    read_dataset_json,
)
from nnunetv2_masam.options import option
from nnunetv2_masam.planning.rules import PLANS_NAME
from nnunetv2_masam.processes import usable_cpus


@dataclass(frozen=True)
class PlanRequest:
    """Options of planning: one dataset, for one recipe."""

    dataset: str = option(
        "-d", "--dataset", help="Numbers or names of the datasets", group="input", metavar="ID", nargs="+"
    )
    trainer: str = option(
        "-tr", "--trainer", help="Plan for this trainer", default="nnUNetTrainerMASAM", group="plans", metavar="TRAINER"
    )
    planner: str = option(
        "-pl", "--planner", help="Planner class", default="MASAMPlanner", group="plans", metavar="PLANNER"
    )
    baseline: str = option(
        "-base", "--baseline", help="Plans that spacing, normalisation and preprocessed data are taken from",
        default="nnUNetPlans", group="plans", metavar="PLANS",
    )  # fmt: skip
    gpu_memory_target_gb: float | None = option(
        "-gpu_memory_target", help="Memory of one GPU in GB (default: the trainer's)", default=None, group="plans",
        metavar="GB", above=0,
    )  # fmt: skip
    explain: bool = option(help="Print every plan beside its alternatives", default=False, group="plans")
    plans_name: str = option(
        "-overwrite_plans_name", help="Name of the plans to write", default=PLANS_NAME, group="output", metavar="NAME"
    )
    overwrite: bool = option(
        help="Replace plans of that name that differ; never nnU-Net's", default=False, group="output"
    )
    configurations: tuple[str, ...] = option(
        "-c", "--configurations", default=(), group="preprocessing", metavar="CONFIGURATION",
        help="Configurations to preprocess where that is missing (default: 3d_fullres, or 2d without a 3d_fullres)",
    )  # fmt: skip
    preprocess: bool = option(
        "--no_pp", help="Write the plans only, preprocess nothing", default=True, group="preprocessing"
    )
    processes: int | None = option(
        "-np", "--processes", help="Number of processes (default: one for each core, at most 8)", default=None,
        group="speed", metavar="N", at_least=1,
    )  # fmt: skip


@dataclass(frozen=True)
class PlannedDataset:
    """Result of planning a dataset.

    Attributes:
        name: of the dataset.
        plans: content of the plans file.
        plans_file: where it is.
        configurations: those that are ready to train, or were asked for.
        preprocessed: configuration → folder of its preprocessed data, where these were there already.
        explanations: configuration → a table of the plan beside its alternatives, if asked for.
    """

    name: str
    plans: dict[str, Any]
    plans_file: Path
    configurations: tuple[str, ...]
    preprocessed: dict[str, Path] = field(default_factory=dict)
    explanations: dict[str, str] = field(default_factory=dict)


def plan_dataset(request: PlanRequest) -> PlannedDataset:
    """Plan a dataset, write the plans, and preprocess what is missing.

    Raises:
        ValueError: there is no such dataset, trainer, planner, baseline or configuration, nothing fits the memory
            target, or other plans of that name are there.
    """
    planner_class, rules = find_planner(request.planner), find_masam_trainer(request.trainer).rules
    if not hasattr(planner_class, "explain"):
        ours = ", ".join(class_names(planners_folder()))
        raise ValueError(f"-pl: {request.planner} is not a MA-SAM planner; take one of {ours}")
    name = dataset_name(request.dataset)
    read_dataset_json(raw_dataset(name))
    planner = planner_class(
        _ensure_fingerprint(name, _processes(request)),
        gpu_memory_target_in_gb=request.gpu_memory_target_gb,
        plans_name=request.plans_name,
        rules=rules,
        baseline=request.baseline,
        overwrite=request.overwrite,
    )
    there = planner.plan()["configurations"]
    wanted = request.configurations or ("3d_fullres" if "3d_fullres" in there else "2d",)
    if unknown := [configuration for configuration in wanted if configuration not in there]:
        raise ValueError(f"-c: got {', '.join(unknown)}, the plans have {', '.join(there)}")
    plans = planner.plan_experiment()
    preprocessed = {}
    if request.preprocess:
        preprocessed = _preprocess_missing(name, request.baseline, plans, wanted, _processes(request))
    own = [key for key, value in there.items() if request.explain and "patch_size" in value]
    tables = {key: planner.explain(key) for key in own}
    return PlannedDataset(name, plans, planner.plans_file, tuple(wanted), preprocessed, tables)


def _ensure_fingerprint(name: str, processes: int) -> str:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints

    if not (preprocessed_dataset(name) / "dataset_fingerprint.json").is_file():
        extract_fingerprints([dataset_number(name)], num_processes=processes, check_dataset_integrity=True)
    return name


def _preprocess_missing(
    name: str, baseline: str, plans: dict[str, Any], wanted: Sequence[str], processes: int
) -> dict[str, Path]:
    """Run nnU-Net's preprocessing, with the plans named ``baseline``, for wanted configurations that lack a case.

    Returns:
        configuration → folder, for those that lack none.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    cases = set(get_filenames_of_train_images_and_targets(str(folder_of("nnUNet_raw") / name)))
    complete, missing = {}, []
    for configuration in wanted:
        identifier = plans["configurations"][configuration].get("data_identifier")
        folder = preprocessed_dataset(name) / str(identifier)
        if identifier is None or cases <= {file.stem for file in folder.glob("*.pkl")}:
            complete[configuration] = folder
        else:
            missing.append(configuration)
    if missing:
        preprocess_dataset(dataset_number(name), baseline, missing, num_processes=[processes])
    return complete


def _processes(request: PlanRequest) -> int:
    return request.processes or min(8, usable_cpus())
