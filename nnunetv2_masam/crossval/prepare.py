"""Prepare a cross-validation: check the request, list the training jobs and the comparisons that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.catalogue import find_trainer
from nnunetv2_masam.crossval.counterparts import describe_pair, find_counterparts
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
    """A prepared cross-validation: its jobs and its comparisons.

    Attributes:
        request: what was asked for.
        dataset: its dataset's name.
        counterparts: pretrained trainer → its counterpart without pretrained weights, if these are trained too.
        jobs: one for each trainer and fold, whatever their state.
        output: folder for logs and comparisons.
    """

    request: CrossvalRequest
    dataset: str
    counterparts: Mapping[str, str]
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

    def comparisons(self) -> list[tuple[CompareCrossValidation, Path]]:
        """What to compare when all jobs are finished, and the folder for it; nothing for few-shot folds."""
        folds = self.request.folds
        trainers = dict.fromkeys(job.trainer for job in self.jobs)
        splits = find_splits(self.dataset, folds)
        if folds and splits is not None and not set(folds) <= set(splits):
            return []
        model = f"__{self.request.plans}__{self.request.configuration}"
        models = {trainer: ModelSource(trainer + model) for trainer in trainers}
        found = []
        if len(models) != 2 * len(self.counterparts) or len(self.counterparts) > 1:  # else the one pair is all there is
            request = CompareCrossValidation(models=tuple(models.values()), dataset=self.dataset, folds=folds)
            found.append((request, self.output / "comparison"))
        for trainer, counterpart in self.counterparts.items():
            pair = CompareCrossValidation(
                models=(models[counterpart], models[trainer]),
                dataset=self.dataset,
                folds=folds,
                title=f"What pretrained weights give: {trainer} against {counterpart}.",
                notes=(describe_pair(trainer, counterpart),),
            )
            found.append((pair, self.output / f"weights_{trainer}"))
        return found


def prepare_crossval(request: CrossvalRequest) -> Crossval:
    """Jobs and comparisons of a request; nothing is started or written.

    Raises:
        ValueError: the dataset is not preprocessed, a name is none, ``output`` can be no folder, or a pretrained
            trainer lacks a counterpart that is asked for.
    """
    dataset = dataset_name(request.dataset)
    folder = preprocessed_dataset(dataset)
    if not folder.is_dir():
        raise ValueError(f"-d {request.dataset}: not in nnUNet_preprocessed. Run nnUNetv2_plan_and_preprocess first")
    counterparts: dict[str, str] = {}
    if request.from_scratch:
        fine_tuned = request.pretrained_weights is not None
        counterparts = find_counterparts(request.trainers, folder, request.plans, request.configuration, fine_tuned)
    both = [name for trainer in request.trainers for name in (trainer, counterparts.get(trainer, trainer))]
    splits = find_splits(dataset)
    results = folder_of("nnUNet_results")
    output = request.output or results / dataset / "crossval"
    check_output(output)
    jobs = make_jobs(
        dataset,
        request.configuration,
        list(dict.fromkeys(both)),
        request.folds or (list(range(_FOLDS)) if splits is None else sorted(splits)),
        results=results,
        logs=output / "logs",
        plans=request.plans,
        pretrained_weights=request.pretrained_weights,
        from_scratch=list(counterparts.values()),
        device=request.device,
    )
    return Crossval(request, dataset, counterparts, jobs, output)
