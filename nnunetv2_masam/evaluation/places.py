"""Find the files of a request: a model's folders by its name, and a dataset's references and folds."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nnunetv2_masam.evaluation.labels import read_label_scheme
from nnunetv2_masam.evaluation.request import CompareCrossValidation, CompareRequest, CompareTestSet
from nnunetv2_masam.evaluation.value_tables import is_table
from nnunetv2_masam.files import list_folder, shortened
from nnunetv2_masam.folds.few_shot import read_few_shot_folds
from nnunetv2_masam.folds.fixed import read_fixed_folds
from nnunetv2_masam.nnunet_files import (
    dataset_name,
    find_dataset_json,
    folder_of,
    read_dataset_json,
    set_folders,
)
from nnunetv2_masam.splits import SPLITS_FILE, describe_overlap, read_splits

ALL_FOLD = "fold_all"
NO_VALIDATION_IN_FOLD_ALL = "fold_all is validated on its own training cases, which says nothing on new ones"
# the few-shot folds of a model: "trainer@k3", or "trainer@k3s1" for seed 1
FEW_SHOT = re.compile(r"@k(\d+)(?:s(\d+))?$")


class Run(NamedTuple):
    """A folder or table of values, and ``@k3`` if the few-shot folds in it are meant."""

    path: Path
    few_shot: str = ""


class Places(NamedTuple):
    """Folders of a request; those of a test set are without dataset, splits and folds.

    Without `references`, they are where nnU-Net has those of the dataset.
    """

    runs: dict[str, tuple[Run, ...]]
    dataset_json: dict[str, Any]
    references: Path | None
    images: Path | None
    title: str
    dataset: str | None = None
    splits: dict[int, list[str]] | None = None
    folds: Sequence[int] | None = None


def find_places(request: CompareRequest) -> Places:
    """Find and name the models of a request, and find the references.

    Raises:
        ValueError: something is missing, ambiguous or given twice.
    """
    if request.images is not None:
        list_folder(request.images)
    return _dataset(request) if isinstance(request, CompareCrossValidation) else _test_set(request)


def _dataset(request: CompareCrossValidation) -> Places:
    dataset, folds = dataset_name(request.dataset), request.folds
    splits = find_splits(dataset, folds, refuse_overlap=True)
    if splits is not None and (unknown := sorted(set(folds or ()) - set(splits))):
        raise ValueError(f"--folds {unknown}: the cross-validation has the folds {sorted(splits)}")
    runs = _name_models([(model.name, _find_runs(model.source, dataset)) for model in request.models]) or _name_models(
        [(None, (Run(folder),)) for folder in _all_model_folders(dataset)]
    )
    folders = [run.path for model in runs.values() for run in model if run.path.is_dir()]
    where = "the cross-validation" if folds is None else f"fold {', '.join(map(str, folds))}"
    return Places(
        runs,
        _read_dataset_json(request.dataset_json or find_dataset_json(dataset, folders)),
        request.references,
        request.images or _training_images(dataset),
        f"{dataset}: {{n}} cases of {where}",
        dataset,
        splits,
        folds,
    )


def _test_set(request: CompareTestSet) -> Places:
    dataset_json = _read_dataset_json(request.dataset_json)
    runs = _name_models([(model.name, _find_runs(model.source)) for model in request.models])
    name = dataset_json.get("name", request.references.resolve().parent.name)
    return Places(runs, dataset_json, request.references, request.images, f"{name}: {{n}} test cases")


def _read_dataset_json(path: Path) -> dict[str, Any]:
    """Read the ``dataset.json`` of the references, with labels that nnU-Net takes; channels do not matter here."""
    content = read_dataset_json(path, with_channels=False)
    try:
        read_label_scheme(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return content


def _find_runs(source: str, dataset: str | None = None) -> tuple[Run, ...]:
    """The trainings that a source names; without a dataset, it holds paths."""
    parts = [source] if "," not in source or Path(source).exists() else source.split(",")
    runs = []
    for part in parts:
        few_shot = FEW_SHOT.search(part) if dataset is not None else None
        model = part if few_shot is None else part[: few_shot.start()]
        path = Path(model) if dataset is None or is_table(model) else _model_folder(model, dataset)
        runs.append(Run(path, few_shot[0] if few_shot else ""))
    return tuple(runs)


def _model_folder(model: str, dataset: str) -> Path:
    """Find a model by path, by ``trainer__plans__configuration``, or by trainer where that is unambiguous."""
    if os.sep in model or Path(model).is_dir():
        if not Path(model).is_dir():
            raise ValueError(f"{model}: no such folder")
        return Path(model)
    base = folder_of("nnUNet_results") / dataset
    there = [path for path in list_folder(base) if path.is_dir() and path.name.count("__") == 2]
    found = [path for path in there if path.name == model or path.name.startswith(f"{model}__")]
    if len(found) == 1:
        return found[0]
    listing = "\n  ".join(path.name for path in found or there) or "(none)"
    problem = "is ambiguous, it may mean" if found else f"is not in {base}, which has"
    raise ValueError(f"model {model!r} {problem}:\n  {listing}\nName one of them, or give a folder.")


def _all_model_folders(dataset: str) -> list[Path]:
    """Every model of a dataset that has validation results of numbered folds; nnU-Net's default trainer first."""
    base = folder_of("nnUNet_results") / dataset
    there = [path for path in list_folder(base) if path.name.count("__") == 2 and path.is_dir()]
    found = [path for path in there if any(path.glob("fold_[0-9]*/validation"))]
    if not found:
        only_all = [path.name for path in there if (path / ALL_FOLD / "validation").is_dir()]
        reason = f" ({shortened(only_all)}: {NO_VALIDATION_IN_FOLD_ALL})" if only_all else ""
        raise ValueError(f"{base}: no model with fold_*/validation{reason}; train one, or give folders")
    return sorted(found, key=lambda path: (not path.name.startswith("nnUNetTrainer__"), path.name))


def _name_models(found: Sequence[tuple[str | None, tuple[Run, ...]]]) -> dict[str, tuple[Run, ...]]:
    """Names for the tables: the label, else the folder's name, or only the trainer if the rest is shared."""
    named: dict[str, tuple[Run, ...]] = {}
    parts = [runs[0].path.resolve().name.split("__") for label, runs in found if label is None]
    shared = all(len(part) == 3 and part[1:] == parts[0][1:] for part in parts)
    seen: dict[Run, str] = {}
    for label, runs in found:
        path, few_shot = runs[0]
        folder_name = path.stem if is_table(path.name) else path.resolve().name
        name = label or (folder_name.split("__")[0] if shared else folder_name) + few_shot
        if name in named:
            raise ValueError(
                f"two models are called {name!r} ({named[name][0].path}, {path}): name them with LABEL=folder"
            )
        for run in runs:
            other = seen.setdefault(Run(run.path.resolve(), run.few_shot), name)
            if (other != name or runs.count(run) > 1) and not is_table(run.path.name):  # which can hold several models
                raise ValueError(f"{other} and {name} are the same model, {run.path}: name different folders")
        named[name] = runs
    return named


def _training_images(dataset: str) -> Path | None:
    """The training images of the raw dataset, if they are there."""
    folders = [folder / dataset / "imagesTr" for folder in set_folders("nnUNet_raw")]
    return next((folder for folder in folders if folder.is_dir()), None)


def find_splits(
    dataset: str, folds: Sequence[int] | None = None, *, refuse_overlap: bool = False
) -> dict[int, list[str]] | None:
    """Fold → validation cases; None without a splits file.

    Args:
        dataset: name of the dataset.
        folds: the folds asked for. Without, those of the cross-validation, so no fixed ones. Few-shot folds never
            count: they repeat the validation cases of others.
        refuse_overlap: refuse folds whose validation cases are also training cases.
    """
    folder = next((folder / dataset for folder in set_folders("nnUNet_preprocessed")), None)
    if folder is None or not (folder / SPLITS_FILE).is_file():
        return None
    left_out = {entry.fold for entry in read_few_shot_folds(folder)}
    if folds is None:
        left_out |= {entry.fold for entry in read_fixed_folds(folder)}
    splits = read_splits(folder / SPLITS_FILE)
    kept = [fold for fold in range(len(splits)) if fold not in left_out]
    asked = [fold for fold in kept if folds is None or fold in folds]
    if refuse_overlap and (overlap := describe_overlap(splits, asked)):
        raise ValueError(
            f"{folder / SPLITS_FILE}: {overlap}. This says nothing on new cases: correct the file and train the fold "
            "again, or name other folds with --folds"
        )
    return {fold: splits[fold]["val"] for fold in kept}
