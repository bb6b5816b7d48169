"""Plans for MA-SAM, made from a baseline's."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_masam.planning import PLANS_NAME, PlanningRules, explain_configuration, replan


class MASAMPlanner(ExperimentPlanner):
    """Takes spacing, normalisation and preprocessed data from a baseline's plans, the rest from our rules.

    Attributes:
        rules: what the recipe that will train on these plans asks for.
        baseline: name of the baseline's plans; nnU-Net's default ones are made where they are missing.
    """

    rules = PlanningRules()
    baseline = "nnUNetPlans"

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float | None = None,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = PLANS_NAME,
        overwrite_target_spacing: list[float] | None = None,
        suppress_transpose: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            8 if gpu_memory_target_in_gb is None else gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.vram_gb = gpu_memory_target_in_gb

    def plan_experiment(self) -> dict:
        """Write ``<plans_name>.json`` beside the baseline's plans and return its content.

        Raises:
            FileNotFoundError: a baseline is asked for that is neither there nor nnU-Net's default.
        """
        baseline = self._baseline_plans()
        self.num_classes = PlansManager(baseline).get_label_manager(self.dataset_json).num_segmentation_heads
        self.plans = replan(baseline, self.rules, self.num_classes, self.vram_gb)
        self.plans.update(plans_name=self.plans_identifier, experiment_planner_used=type(self).__name__)
        self.save_plans(deepcopy(self.plans))
        return self.plans

    def explain(self, configuration: str) -> str:
        """A planned configuration beside its alternatives, as a table; after :meth:`plan_experiment`."""
        assert self.plans is not None
        planned = self.plans["configurations"][configuration]
        return explain_configuration(planned, self.rules, self.num_classes, self.vram_gb)

    def _baseline_plans(self) -> dict:
        file = Path(str(nnUNet_preprocessed)) / self.dataset_name / f"{self.baseline}.json"
        if not file.is_file():
            if self.baseline != "nnUNetPlans":
                raise FileNotFoundError(
                    f"no baseline plans {file}: run nnUNetv2_plan_experiment for {self.dataset_name} with the planner "
                    f"that writes {self.baseline}, or leave out -base"
                )
            ExperimentPlanner(self.dataset_name).plan_experiment()
        return load_json(str(file))
