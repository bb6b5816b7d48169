"""The planner: plans for MA-SAM, made from nnU-Net's and written beside them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.utilities.json_export import recursive_fix_for_json_export
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_masam.files import write_text
from nnunetv2_masam.nnunet_files import checked_identifier, preprocessed_dataset
from nnunetv2_masam.planning.configuration import replan
from nnunetv2_masam.planning.explain import explain_configuration
from nnunetv2_masam.planning.rules import PLANS_NAME, PlanningRules
from nnunetv2_masam.plans_file import is_masam_configuration, read_plans


class MASAMPlanner(ExperimentPlanner):
    """Takes spacing, normalisation and preprocessed data from nnU-Net's plans, the rest from the recipe's rules.

    Args:
        dataset_name_or_id, preprocessor_name, overwrite_target_spacing, suppress_transpose: as nnU-Net's planner.
        gpu_memory_target_in_gb: memory of one GPU; None takes the rules' target.
        rules: what the recipe that will train on these plans asks for.
        baseline: name of nnU-Net's plans.
        overwrite: replace plans of ours that differ from those planned now.

    Raises:
        ValueError: ``plans_name`` is no name, or is ``baseline``.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float | None = None,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = PLANS_NAME,
        overwrite_target_spacing: list[float] | None = None,
        suppress_transpose: bool = False,
        *,
        rules: PlanningRules | None = None,
        baseline: str = "nnUNetPlans",
        overwrite: bool = False,
    ) -> None:
        if checked_identifier(plans_name, "-overwrite_plans_name") == checked_identifier(baseline, "-base"):
            raise ValueError(
                f"-overwrite_plans_name: {plans_name} are the plans to start from (-base); choose another name"
            )
        super().__init__(
            dataset_name_or_id,
            8 if gpu_memory_target_in_gb is None else gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.vram_gb = gpu_memory_target_in_gb
        self.rules = rules or PlanningRules()
        self.baseline = baseline
        self.overwrite = overwrite
        self.plans_file: Path = preprocessed_dataset(self.dataset_name) / f"{plans_name}.json"

    def plan(self) -> dict:
        """The plans, not written yet.

        Raises:
            ValueError: the plans to start from are missing, or even the smallest plan does not fit the memory target.
        """
        plans = self._plans_to_start_from()
        self.num_classes = PlansManager(plans).get_label_manager(self.dataset_json).num_segmentation_heads
        self.plans = replan(plans, self.rules, self.num_classes, self.vram_gb)
        self.plans.update(plans_name=self.plans_identifier, experiment_planner_used=type(self).__name__)
        return self.plans

    def plan_experiment(self) -> dict:
        """Write ``<plans_name>.json`` beside nnU-Net's plans and return its content.

        Raises:
            ValueError: as :meth:`plan`, or other plans of that name are there.
        """
        plans = self.plan()
        self.save_plans(deepcopy(plans))
        return plans

    def save_plans(self, plans: dict) -> None:
        """Write plans; configurations of other names in the file are kept, as by nnU-Net's planner.

        Raises:
            ValueError: the file holds plans of another planner, or other plans and ``overwrite`` is not set.
        """
        recursive_fix_for_json_export(plans)
        if self.plans_file.exists():
            there = read_plans(self.plans_file)
            for name, configuration in there["configurations"].items():
                plans["configurations"].setdefault(name, configuration)
            self._check_replaced(there, plans)
        write_text(self.plans_file, json.dumps(plans, indent=4))

    def explain(self, configuration: str) -> str:
        """A planned configuration beside its alternatives; after :meth:`plan`."""
        assert self.plans is not None
        planned = self.plans["configurations"][configuration]
        return explain_configuration(planned, self.rules, self.num_classes, self.vram_gb)

    def _check_replaced(self, there: dict, plans: dict) -> None:
        planner = there.get("experiment_planner_used")
        if planner != type(self).__name__ and not any(map(is_masam_configuration, there["configurations"].values())):
            raise ValueError(
                f"{self.plans_file}: holds plans of {planner}, which are never overwritten; choose another name with "
                "-overwrite_plans_name"
            )
        if not self.overwrite and there != json.loads(json.dumps(plans)):
            raise ValueError(
                f"{self.plans_file}: holds other plans, edited or made for another trainer or memory target. Replace "
                "them with --overwrite, or choose another name with -overwrite_plans_name"
            )

    def _plans_to_start_from(self) -> dict:
        file = self.plans_file.with_name(f"{self.baseline}.json")
        if not file.is_file():
            raise ValueError(
                f"-base: there are no plans {file}. Run nnUNetv2_plan_and_preprocess for {self.dataset_name}, with the "
                f"planner that writes {self.baseline}"
            )
        return read_plans(file)
