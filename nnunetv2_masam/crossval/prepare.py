"""Prepare a cross-validation: check the request, list the training jobs and the comparison that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.catalogue import find_trainer
from nnunetv2_masam.crossval.jobs import FINISHED, Job, make_jobs
from nnunetv2_masam.crossval.request import CrossvalRequest
from nnunetv2_masam.data_checks import check_folds
from nnunetv2_masam.evaluation.pipeline import CompareCrossValidation, ModelSource, check_output
from nnunetv2_masam.evaluation.places import find_splits
from nnunetv2_masam.nnunet_files import dataset_name, folder_of, preprocessed_dataset
from nnunetv2_masam.plans_file import read_plans

_FOLDS = 5  # nnU-Net makes as many at the first training


@dataclass(frozen=True)
class Crossval:
    """A prepared cross-validation: its jobs and its comparison.

    Attributes:
        jobs: one for each trainer and fold, whatever their state.
        output: folder for logs and the comparison.
    """

    request: CrossvalRequest
    dataset: str
    jobs: Sequence[Job]
    output: Path

    def left(self) -> list[Job]:
        """The jobs that are not finished."""
        return [job for job in self.jobs if job.state() != FINISHED]

    def check(self) -> None:
        """Look for what would make every job fail.

        Raises:
            ValueError: there is no such trainer, plans, configuration or checkpoint, or a fold validates on cases
                that it trains on.
        """
        request = self.request
        weights = request.pretrained_weights
        if weights is not None and not weights.is_file():
            raise ValueError(f"--pretrained-weights {weights}: no such file, expected a checkpoint of nnU-Net")
        folder = preprocessed_dataset(self.dataset)
        plans = folder / f"{request.plans}.json"
        if not plans.is_file():
            known = ", ".join(sorted(path.stem for path in folder.glob("*Plans*.json"))) or "no plans"
            raise ValueError(f"-p {request.plans}: not in {folder}, which has {known}. Plan the dataset first")
        configurations = read_plans(plans)["configurations"]
        if request.configuration not in configurations:
            raise ValueError(
                f"-c {request.configuration}: not in {plans}, which has {', '.join(configurations) or 'none'}. "
                "Name one of these"
            )
        check_folds(folder, {job.fold for job in self.left()})
        for trainer in dict.fromkeys(job.trainer for job in self.left()):
            find_trainer(trainer)

    def comparison(self) -> CompareCrossValidation | None:
        """What to compare when all jobs are finished; nothing for few-shot folds."""
        folds = self.request.folds
        splits = find_splits(self.dataset, folds)
        if folds and splits is not None and not set(folds) <= set(splits):
            return None
        model = f"__{self.request.plans}__{self.request.configuration}"
        models = tuple(ModelSource(trainer + model) for trainer in dict.fromkeys(self.request.trainers))
        return CompareCrossValidation(models=models, dataset=self.dataset, folds=folds)


def prepare_crossval(request: CrossvalRequest) -> Crossval:
    """Jobs and the comparison of a request; nothing is started or written.

    Raises:
        ValueError: the dataset is not preprocessed, a name is none, or ``output`` can be no folder.
    """
    dataset = dataset_name(request.dataset)
    folder = preprocessed_dataset(dataset)
    if not folder.is_dir():
        raise ValueError(f"-d {request.dataset}: not in nnUNet_preprocessed. Run nnUNetv2_plan_and_preprocess first")
    splits = find_splits(dataset)
    results = folder_of("nnUNet_results")
    output = request.output or results / dataset / "crossval"
    check_output(output)
    jobs = make_jobs(
        dataset,
        request.configuration,
        list(dict.fromkeys(request.trainers)),
        request.folds or (list(range(_FOLDS)) if splits is None else sorted(splits)),
        results=results,
        logs=output / "logs",
        plans=request.plans,
        pretrained_weights=request.pretrained_weights,
        device=request.device,
    )
    return Crossval(request, dataset, jobs, output)
