"""Make a table of a model's cases from the name of a trainer, a folder of nnU-Net's, or a table of another tool.

`find_cases` is the one step of discovery. It finds and names the models, reads which cases each predicted in which
fold, checks that they line up (`lineup`), and returns the table of cases with what lies beside the predictions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nnunetv2_masam.dicom import SEG_ENDING
from nnunetv2_masam.evaluation.dicom_cases import cases_by_series
from nnunetv2_masam.evaluation.lineup import NO_FOLD, line_up
from nnunetv2_masam.evaluation.places import ALL_FOLD, FEW_SHOT, NO_VALIDATION_IN_FOLD_ALL, Places, Run, find_places
from nnunetv2_masam.evaluation.prompted import Prompt, find_prompt, oracle_prompts
from nnunetv2_masam.evaluation.request import SEEN, CompareRequest
from nnunetv2_masam.evaluation.value_tables import is_table, read_groups, read_values
from nnunetv2_masam.files import files_by_case, list_folder, read_json
from nnunetv2_masam.folds.few_shot import fold_map, read_few_shot_folds
from nnunetv2_masam.nnunet_files import (
    check_labels,
    first_channel,
    preprocessed_dataset,
    reference_folder,
    segmentations_in,
)


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
        name: what tables call it.
        runs: its trainings, one as a rule.
        plans: its plans, if they are beside it.
        dataset_json: its ``dataset.json``, if it is beside it.
        prompt: what its predictions were prompted with, if with anything.
        values: what another tool measured (`value_tables.read_values`); None for a model that is measured here.
    """

    name: str
    runs: tuple[Run, ...]
    plans: dict[str, Any] | None = None
    dataset_json: dict[str, Any] | None = None
    prompt: Prompt | None = None
    values: pd.DataFrame | None = None

    @property
    def folder(self) -> str:
        """Where it lies, for messages and captions."""
        return ",".join(str(run.path) for run in self.runs)


@dataclass(frozen=True)
class Cases:
    """What is compared.

    Attributes:
        table: a row per model, run and case: ``fold``, ``group``, files ``prediction``, ``reference``, ``image``.
        models: by name, the baseline first.
        recorded: what nnU-Net's ``summary.json`` files say: ``model, run, case, key, Dice, n_ref``.
        dataset_json: of the references.
        title: what is compared; ``{n}`` stands for the number of cases.
        notes: what a reader must know, such as that cases were left out.
    """

    table: pd.DataFrame
    models: dict[str, Model]
    recorded: pd.DataFrame
    dataset_json: dict[str, Any]
    title: str
    notes: tuple[str, ...]

    @property
    def plans(self) -> dict[str, Any] | None:
        """The plans of the first model that has some."""
        return next((model.plans for model in self.models.values() if model.plans is not None), None)


def find_cases(request: CompareRequest) -> Cases:
    """Find what a request names, and check that it lines up.

    Raises:
        ValueError: with everything that is missing or does not line up, by file or option.
    """
    places = find_places(request)
    file_ending = places.dataset_json["file_ending"]
    for run in (run for runs in places.runs.values() for run in runs if not is_table(run.path.name)):
        _check_predictions(run, places)
    folder = places.references or reference_folder(str(places.dataset))
    references = segmentations_in(folder, file_ending, SEG_ENDING)
    found = [_read_model(name, runs, places, references) for name, runs in places.runs.items()]
    models = {model.name: model for model, _, _ in found}
    prompts = oracle_prompts(request.oracles, list(models))
    models = {name: replace(model, prompt=prompts.get(name, model.prompt)) for name, model in models.items()}
    seen_notes = _seen_notes(request, list(models))
    baseline = request.baseline or next(iter(models))
    if baseline not in models:
        raise ValueError(f"baseline {baseline!r} is not among the models: {', '.join(models)}")
    models = {baseline: models.pop(baseline)} | models
    recorded = pd.concat([summary for *_, summary in found], ignore_index=True)
    for model in models.values():
        if any(run.path.resolve() == folder.resolve() for run in model.runs):
            raise ValueError(f"{model.name} and the references are the same folder, {folder}")
    table = pd.concat([cases for _, cases, _ in found], ignore_index=True)
    references = cases_by_series(references, set(table["case"]))
    table, notes = line_up(
        table,
        {name: model.folder for name, model in models.items()},
        (folder, references),
        splits=places.splits,
        folds=places.folds,
        common=request.common,
        recorded=recorded.iloc[:0] if request.match_labels_by_name else recorded,
    )
    names = {name: f"{name}{SEEN}" if name in request.seen else name for name in models}
    models = {names[name]: replace(model, name=names[name]) for name, model in models.items()}
    table, recorded = (frame.assign(model=frame["model"].map(names)) for frame in (table, recorded))
    groups = {} if request.groups is None else read_groups(request.groups, list(table["case"].unique()))
    table = table.assign(
        group=[groups.get(case, "") for case in table["case"]],
        reference=[references[case] for case in table["case"]],
        image=[first_channel(places.images, case, file_ending) for case in table["case"]],
    )
    return Cases(table, models, recorded, places.dataset_json, places.title, (*notes, *seen_notes))


def _check_predictions(run: Run, places: Places) -> None:
    ending = places.dataset_json["file_ending"]
    if not any(files_by_case(folder, ending, SEG_ENDING) for _, folder in _prediction_folders(run, places)):
        reason = f"; {NO_VALIDATION_IN_FOLD_ALL}" if (run.path / ALL_FOLD).is_dir() else ""
        where = f"*{ending}), neither in fold_*/validation nor directly in it"
        raise ValueError(f"{run.path}: no predictions ({where}{reason}")


def _seen_notes(request: CompareRequest, models: list[str]) -> list[str]:
    """Which models may have been trained on what they are compared on."""
    if unknown := sorted(set(request.seen) - set(models)):
        raise ValueError(f"--seen {', '.join(unknown)}: the models are {', '.join(models)}")
    if not request.seen:
        return []
    ranked = " They are left out of the ranking." if request.rank_unseen else ""
    return [
        f"{', '.join(request.seen)}: pretrained weights may have been trained on these cases, so the results may be "
        f"better than on new ones; marked{SEEN} everywhere.{ranked}"
    ]


def _read_model(
    name: str, runs: tuple[Run, ...], places: Places, references: Collection[str]
) -> tuple[Model, pd.DataFrame, pd.DataFrame]:
    """A model, its cases (``model, run, case, fold, prediction``), and what nnU-Net's summaries say of them."""
    first, values = Model(name, runs), []
    cases: list[tuple[str, int, str, int, Path]] = []
    recorded: list[tuple[Any, ...]] = []
    for number, run in enumerate(runs):
        if is_table(run.path.name):
            table = read_values(name, run.path)
            values.append(table if len(runs) == 1 else table.assign(run=number))  # our own table knows its runs
            folds = values[-1].groupby(["run", "case"], sort=False)["fold"].first()
            cases += [(name, of_run, case, fold, run.path) for (of_run, case), fold in folds.items()]
            continue
        there: dict[str, tuple[int, Path]] = {}
        for fold, folder in _prediction_folders(run, places):
            files = files_by_case(folder, places.dataset_json["file_ending"], SEG_ENDING)
            for case, path in cases_by_series(files, references).items():
                if case in there:
                    raise ValueError(f"{name}: case {case} is predicted twice:\n  {there[case][1]}\n  {path}")
                there[case] = fold, path
            recorded += [(name, number, *row) for row in _recorded(folder, places.dataset_json["file_ending"])]
        cases += [(name, number, case, fold, path) for case, (fold, path) in there.items()]
        beside = _beside(first, run.path)
        if number and beside.dataset_json != first.dataset_json:
            raise ValueError(f"{run.path}: its dataset.json is not that of {runs[0].path}, so it is another model")
        first = first if number else beside
    if values and len(values) < len(runs):
        raise ValueError(f"{name}: some of its trainings are folders and some tables of values, expected one kind")
    table = pd.concat(values, ignore_index=True) if values else None
    return (
        replace(first, values=table),
        pd.DataFrame(cases, columns=["model", "run", "case", "fold", "prediction"]),
        pd.DataFrame(recorded, columns=["model", "run", "case", "key", "Dice", "n_ref"]),
    )


def _beside(model: Model, folder: Path) -> Model:
    """The model with what lies beside its predictions."""
    plans = dataset_json = None
    if (folder / "plans.json").is_file():
        plans = read_json(folder / "plans.json", dict)
    if (folder / "dataset.json").is_file():
        dataset_json = read_json(folder / "dataset.json", dict)
        check_labels(folder / "dataset.json", dataset_json)
    prompt = find_prompt(folder, dataset_json, any(folder.glob("fold_[0-9]*")))
    return replace(model, plans=plans, dataset_json=dataset_json, prompt=prompt)


def _prediction_folders(run: Run, places: Places) -> Iterator[tuple[int, Path]]:
    """Fold of the cross-validation and folder of its predictions; `NO_FOLD` where a folder has no numbered folds."""
    folds = {
        int(path.name.removeprefix("fold_")): path
        for path in list_folder(run.path)
        if path.is_dir() and path.name.startswith("fold_") and path.name.removeprefix("fold_").isdigit()
    }
    counts_as = {fold: fold for fold in (places.folds if places.folds is not None else places.splits or folds)}
    if match := FEW_SHOT.fullmatch(run.few_shot):
        there = read_few_shot_folds(preprocessed_dataset(str(places.dataset)))
        mapped = fold_map(there, int(match[1]), int(match[2]) if match[2] else None)
        counts_as = {fold: base for fold, base in mapped.items() if places.folds is None or base in places.folds}
    if not folds:
        yield NO_FOLD, run.path
    for fold, path in sorted(folds.items()):
        if fold in counts_as and (path / "validation").is_dir():
            yield counts_as[fold], path / "validation"


def _recorded(folder: Path, file_ending: str) -> Iterator[tuple[str, str, float | None, int | None]]:
    """Case, label's key, Dice and voxels of the reference in nnU-Net's ``summary.json``; none without the file."""
    path = folder / "summary.json"
    if not path.is_file():
        return
    try:
        for entry in read_json(path, dict).get("metric_per_case", []):
            case = Path(entry["prediction_file"].replace("\\", "/")).name.removesuffix(file_ending)
            for key, values in entry["metrics"].items():
                if not isinstance(values["Dice"], (int, float, type(None))):
                    raise TypeError(f"Dice is {values['Dice']!r}")
                yield case, key, values["Dice"], int(values["n_ref"]) if "n_ref" in values else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path}: is not what nnU-Net writes ({reason}). Only the check of Dice reads it: remove it, or let "
            "nnU-Net write it anew (nnUNetv2_train … --val, or nnUNetv2_evaluate_folder)."
        ) from error
