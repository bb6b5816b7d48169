"""Plan a dataset: MA-SAM's plans beside nnU-Net's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_masam.catalogue import find_masam_trainer, masam_planner
from nnunetv2_masam.nnunet_files import dataset_name, raw_dataset, read_dataset_json
from nnunetv2_masam.options import option
from nnunetv2_masam.planning.rules import PLANS_NAME


@dataclass(frozen=True)
class PlanRequest:
    """Options of planning: one dataset, for one recipe."""

    dataset: str = option(
        "-d", "--dataset", help="Numbers or names of the datasets", group="input", metavar="ID", nargs="+"
    )
    trainer: str = option(
        "-tr", "--trainer", help="Plan for this trainer", default="nnUNetTrainerMASAM", group="plans", metavar="TRAINER"
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


@dataclass(frozen=True)
class PlannedDataset:
    """Result of planning a dataset.

    Attributes:
        explanations: configuration → a table of the plan beside its alternatives, if asked for.
    """

    name: str
    plans: dict[str, Any]
    plans_file: Path
    explanations: dict[str, str]


def plan_dataset(request: PlanRequest) -> PlannedDataset:
    """Plan a dataset and write the plans.

    Raises:
        ValueError: there is no such dataset, trainer or baseline, nothing fits the memory target, or other plans of
            that name are there.
    """
    rules = find_masam_trainer(request.trainer).rules
    name = dataset_name(request.dataset)
    read_dataset_json(raw_dataset(name))
    planner = masam_planner()(
        name,
        gpu_memory_target_in_gb=request.gpu_memory_target_gb,
        plans_name=request.plans_name,
        rules=rules,
        baseline=request.baseline,
        overwrite=request.overwrite,
    )
    plans = planner.plan_experiment()
    planned = [key for key, value in plans["configurations"].items() if request.explain and "patch_size" in value]
    return PlannedDataset(name, plans, planner.plans_file, {key: planner.explain(key) for key in planned})
