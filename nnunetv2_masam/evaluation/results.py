"""nnU-Net's result folders: which models there are, and which cases each predicted in which fold."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nnunetv2_masam.evaluation.prompted import Prompt, find_prompt
from nnunetv2_masam.files import list_folder, read_json, shortened
from nnunetv2_masam.folds.few_shot import read_few_shot_folds
from nnunetv2_masam.folds.fixed import read_fixed_folds
from nnunetv2_masam.folds.splits import SPLITS_FILE, read_splits
from nnunetv2_masam.nnunet_files import check_labels, folder_of, set_folders

NO_FOLD = -1
ALL_FOLD = "fold_all"
NO_VALIDATION_IN_FOLD_ALL = "fold_all is validated on its own training cases, which says nothing on new ones"


@dataclass(frozen=True)
class PredictedCase:
    """One prediction. `fold` is `NO_FOLD` for predictions that belong to no fold (test sets)."""

    case: str
    fold: int
    path: Path


@dataclass
class Model:
    """One model's predictions.

    Attributes:
        name: what tables call it.
        folder: its folder (``trainer__plans__configuration``, or one with predictions).
        cases: predictions by case.
        plans: its plans, if they are beside it.
        dataset_json: its ``dataset.json``, if it is beside it.
        nnunet_metrics: per case, what nnU-Net's ``summary.json`` says.
        prompt: what its predictions were prompted with, if with anything.
        measured_elsewhere: by case and label, the values of a table that another tool wrote; None for a model whose
            predictions are measured here.
    """

    name: str
    folder: Path
    cases: dict[str, PredictedCase] = field(default_factory=dict)
    plans: dict[str, Any] | None = None
    dataset_json: dict[str, Any] | None = None
    nnunet_metrics: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    prompt: Prompt | None = None
    measured_elsewhere: Mapping[tuple[str, str], Mapping[str, float]] | None = None

    @property
    def folds(self) -> list[int]:
        """The folds it has predictions of."""
        return sorted({case.fold for case in self.cases.values()})

    def only(self, cases: Sequence[str]) -> Model:
        """The same model cut to these cases."""
        kept = {case: self.cases[case] for case in cases}
        return replace(self, cases=kept)


def split_specification(specification: str) -> tuple[str | None, str]:
    """``LABEL=model`` → (label, model); without ``=`` the label is None."""
    label, equals, rest = specification.partition("=")
    if not equals:
        return None, specification
    if not label or not rest:
        raise ValueError(f"{specification!r}: expected LABEL=folder or LABEL=trainer__plans__configuration")
    return label, rest


def find_model_folder(model: str, dataset: str) -> Path:
    """Find a model by path, by ``trainer__plans__configuration``, or by trainer where that is unambiguous.

    Args:
        model: what the user typed.
        dataset: name of the dataset, ``DatasetXXX_Name``.
    """
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


def find_all_model_folders(dataset: str) -> list[Path]:
    """Every model of a dataset that has validation results of numbered folds; nnU-Net's default trainer first."""
    base = folder_of("nnUNet_results") / dataset
    there = [path for path in list_folder(base) if path.name.count("__") == 2 and path.is_dir()]
    found = [path for path in there if any(path.glob("fold_[0-9]*/validation"))]
    if not found:
        only_all = [path.name for path in there if (path / ALL_FOLD / "validation").is_dir()]
        reason = f" ({shortened(only_all)}: {NO_VALIDATION_IN_FOLD_ALL})" if only_all else ""
        raise ValueError(f"{base}: no model with fold_*/validation{reason}; train one, or give folders")
    return sorted(found, key=lambda path: (not path.name.startswith("nnUNetTrainer__"), path.name))


def read_model(name: str, folder: Path, file_ending: str, folds: Mapping[int, int] | None = None) -> Model:
    """Read a model's folder: ``fold_k/validation/*``, or predictions directly in it.

    Args:
        name: what tables call it.
        folder: the folder.
        file_ending: of the segmentations, such as ``.nii.gz``.
        folds: only these folds, and the fold of the cross-validation that each counts as; all numbered ones
            as themselves by default (``fold_all`` validates on its training cases).
    """
    model = Model(name, folder)
    if (folder / "plans.json").is_file():
        model.plans = read_json(folder / "plans.json", dict)
    if (folder / "dataset.json").is_file():
        model.dataset_json = read_json(folder / "dataset.json", dict)
        check_labels(folder / "dataset.json", model.dataset_json or {})
    fold_folders = {
        int(path.name.removeprefix("fold_")): path
        for path in list_folder(folder)
        if path.is_dir() and path.name.removeprefix("fold_").isdigit() and path.name.startswith("fold_")
    }
    if not fold_folders:
        _read_predictions(model, folder, NO_FOLD, file_ending)
    for fold, path in sorted(fold_folders.items()):
        if (folds is None or fold in folds) and (path / "validation").is_dir():
            _read_predictions(model, path / "validation", folds[fold] if folds else fold, file_ending)
    if not model.cases:
        reason = f"; {NO_VALIDATION_IN_FOLD_ALL}" if (folder / ALL_FOLD).is_dir() else ""
        where = "neither in fold_*/validation nor directly in it"
        raise ValueError(f"{folder}: no predictions (*{file_ending}), {where}{reason}")
    model.prompt = find_prompt(folder, model.dataset_json, bool(fold_folders))
    return model


def _read_predictions(model: Model, folder: Path, fold: int, file_ending: str) -> None:
    for path in list_folder(folder):
        if not path.name.endswith(file_ending) or path.name.startswith("."):
            continue
        case = path.name.removesuffix(file_ending)
        if case in model.cases:
            other = model.cases[case].path
            raise ValueError(f"{model.name}: case {case} is predicted twice:\n  {other}\n  {path}")
        model.cases[case] = PredictedCase(case, fold, path)
    if (folder / "summary.json").is_file():
        model.nnunet_metrics |= _read_summary(folder / "summary.json", file_ending)


def _read_summary(path: Path, file_ending: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The metrics in nnU-Net's ``summary.json`` by case and label; a file without any is fine."""
    found = {}
    content = read_json(path, dict)
    try:
        for entry in content.get("metric_per_case", []):
            case = Path(entry["prediction_file"].replace("\\", "/")).name.removesuffix(file_ending)
            for values in entry["metrics"].values():
                if not isinstance(values["Dice"], (int, float, type(None))):
                    raise TypeError(f"Dice is {values['Dice']!r}")
                int(values.get("n_ref", 0))
            found[case] = entry["metrics"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path}: is not what nnU-Net writes ({reason}). Only the check of Dice reads it: remove it, or let "
            "nnU-Net write it anew (nnUNetv2_train … --val, or nnUNetv2_evaluate_folder)."
        ) from error
    return found


def find_images(dataset: str) -> Path | None:
    """The training images of the raw dataset, if they are there."""
    folders = [folder / dataset / "imagesTr" for folder in set_folders("nnUNet_raw")]
    return next((folder for folder in folders if folder.is_dir()), None)


def find_splits(dataset: str, folds: Sequence[int] | None = None) -> dict[int, list[str]] | None:
    """Fold → validation cases; None without a splits file.

    Args:
        dataset: name of the dataset.
        folds: the folds asked for. Without, those of the cross-validation, so no fixed ones. Few-shot folds never
            count: they repeat the validation cases of others.
    """
    folder = next((folder / dataset for folder in set_folders("nnUNet_preprocessed")), None)
    if folder is None or not (folder / SPLITS_FILE).is_file():
        return None
    left_out = {entry.fold for entry in read_few_shot_folds(folder)}
    if folds is None:
        left_out |= {entry.fold for entry in read_fixed_folds(folder)}
    splits = read_splits(folder / SPLITS_FILE)
    return {fold: split["val"] for fold, split in enumerate(splits) if fold not in left_out}
