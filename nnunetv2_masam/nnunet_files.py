"""nnU-Net's folders and JSON files: found by a dataset's number or name, and checked as they are read.

nnU-Net itself reports an unset variable or an unknown dataset as ``RuntimeError`` and a JSON file of another shape as
``KeyError`` somewhere later. Here all of them are a ``ValueError`` that says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import files_by_case, read_json, shortened

_DATASET = re.compile(r"Dataset(\d{3})_.+")
_IN_NAMES = re.compile(r"[^\W_][\w .+=@()-]*")


def checked_name(name: str, what: str) -> str:
    """Return ``name`` if it can name a file or folder and nothing else.

    Args:
        name: letters and digits of any language, and ``_ . + = @ ( ) -`` and blanks, beginning with a letter or digit.
        what: what it is, for the error, such as ``-o``.

    Raises:
        ValueError: it is empty, a path, hidden, or has characters that shells or file systems take for something else.
    """
    if _IN_NAMES.fullmatch(name) is None or name != name.strip():
        raise ValueError(
            f"{what}: got {name!r}, expected a name: letters, digits and any of _ . + = @ ( ) - or blanks inside, "
            "beginning with a letter or digit. Paths are not names"
        )
    return name


def checked_identifier(name: str, what: str) -> str:
    """Return ``name`` if it can be a part of nnU-Net's ``trainer__plans__configuration``.

    Raises:
        ValueError: it is no name, or has the ``__`` that separates the parts.
    """
    if "__" in checked_name(name, what):
        raise ValueError(
            f"{what}: got {name!r}, expected a name without __, which separates trainer, plans, configuration"
        )
    return name


def split_dataset_name(name: str, what: str) -> tuple[int, str]:
    """``Dataset107_Boxes`` → (107, "Boxes").

    Raises:
        ValueError: it has another form.
    """
    return dataset_number(name, what), checked_name(name.partition("_")[2], what)


def dataset_number(name: str, what: str = "dataset") -> int:
    """``Dataset107_Boxes`` → 107.

    Raises:
        ValueError: it has another form.
    """
    match = _DATASET.fullmatch(name)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{what}: got {name!r}, expected DatasetXXX_Name with three digits")
    return int(match[1])


def folder_of(variable: str) -> Path:
    """The folder that one of nnU-Net's variables names.

    Args:
        variable: ``nnUNet_raw``, ``nnUNet_preprocessed`` or ``nnUNet_results``.

    Raises:
        ValueError: it is not set.
    """
    from nnunetv2 import paths

    path = getattr(paths, variable)
    if not path.is_set() or not str(path):
        raise ValueError(f"{variable} is not set. Set it to nnU-Net's folder: export {variable}=/some/folder")
    return Path(str(path))


def dataset_name(dataset: int | str) -> str:
    """``4``, ``004`` or ``Dataset004_Hippocampus`` → the folder's name, by nnU-Net's own rule.

    A whole name is returned as it is, whether there is such a folder or not.

    Raises:
        ValueError: neither a number nor such a name, or no dataset has the number, or several have.
    """
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    if str(dataset).startswith("Dataset"):
        split_dataset_name(str(dataset), "-d")
    elif not re.fullmatch(r"\d{1,3}", str(dataset)):
        raise ValueError(f"-d: got {dataset!r}, expected a number from 1 to 999, or DatasetXXX_Name")
    try:
        return str(maybe_convert_to_dataset_name(dataset))
    except RuntimeError as error:
        raise ValueError(f"-d {dataset}: {error}") from error


def raw_dataset(dataset: int | str) -> Path:
    """The folder of a dataset in ``nnUNet_raw``.

    Raises:
        ValueError: the variable is not set, or the dataset is not there.
    """
    raw = folder_of("nnUNet_raw")
    folder = raw / dataset_name(dataset)
    if not folder.is_dir():
        raise ValueError(f"-d {dataset}: no {folder.name} in nnUNet_raw ({raw})")
    return folder


def preprocessed_dataset(dataset: int | str) -> Path:
    """The folder of a dataset in ``nnUNet_preprocessed``, which need not be there yet.

    Raises:
        ValueError: the variable is not set, or there is no such dataset.
    """
    return folder_of("nnUNet_preprocessed") / dataset_name(dataset)


def new_dataset(dataset_id: int, name: str) -> Path:
    """The folder of a new dataset in ``nnUNet_raw``.

    Raises:
        ValueError: ``nnUNet_raw`` is not set, the name is none, or the number is taken in any of nnU-Net's folders.
    """
    from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

    raw = folder_of("nnUNet_raw")
    if not 1 <= dataset_id <= 999:
        raise ValueError(f"dataset number {dataset_id}: expected 1 to 999")
    folder = raw / f"Dataset{dataset_id:03d}_{checked_name(name, 'name of the dataset')}"
    if taken := [str(found) for found in find_candidate_datasets(dataset_id)]:
        raise ValueError(
            f"dataset number {dataset_id}: taken by {', '.join(taken)} in nnUNet_raw, nnUNet_preprocessed or "
            "nnUNet_results. Choose a free number, or remove those folders"
        )
    return folder


def read_dataset_json(path: Path, *, with_channels: bool = True) -> dict[str, Any]:
    """Read a ``dataset.json`` and check the parts that every dataset has.

    Args:
        path: the file, or its folder.
        with_channels: whether ``channel_names`` are needed, which segmentations alone do not have.

    Raises:
        ValueError: it cannot be read, or ``labels``, ``channel_names`` or ``file_ending`` are missing or of another
            form.
    """
    path = path / "dataset.json" if path.is_dir() else path
    content: dict[str, Any] = read_json(path, dict)
    check_labels(path, content)
    channels = content.get("channel_names") or content.get("modality")
    named = isinstance(channels, dict) and channels and all(str(number).isdigit() for number in channels)
    if with_channels and not named:
        raise ValueError(f'{path}: channel_names: got {channels!r}, expected {{"0": "CT", …}}')
    ending = content.get("file_ending")
    if not isinstance(ending, str) or re.fullmatch(r"(\.\w+)+", ending) is None:
        raise ValueError(f"{path}: file_ending: got {ending!r}, expected an ending such as .nii.gz")
    return content


def check_labels(path: Path, content: Mapping[str, Any]) -> None:
    """Check that the labels of a ``dataset.json`` map names to values or to lists of values.

    Raises:
        ValueError: naming the file.
    """
    labels = content.get("labels")
    if not isinstance(labels, dict) or not labels or not all(map(_is_label, labels.values())):
        raise ValueError(f'{path}: labels: got {labels!r}, expected {{"background": 0, "name": 1, …}}')


def _is_label(value: Any) -> bool:
    """A number, or a region's list of numbers; nnU-Net also takes numbers as text."""
    values = value if isinstance(value, list) and value else [value]
    return all(str(number).isdecimal() and not isinstance(number, bool) for number in values)


def foreground_labels(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """The labels and regions of a ``dataset.json`` by name, without the background and the ignore label."""
    return {name: value for name, value in dataset_json["labels"].items() if name not in ("background", "ignore")}


def first_channel(folder: Path | None, case: str, file_ending: str) -> Path | None:
    """The image of a case's first channel, ``case_0000``; None without a folder, or if it is not in there."""
    path = None if folder is None else folder / f"{case}_0000{file_ending}"
    return path if path is not None and path.is_file() else None


def find_dataset_json(dataset: str, beside: Sequence[Path] = ()) -> Path:
    """A dataset's ``dataset.json``: beside its models, else the preprocessed data, else the raw data.

    Args:
        dataset: name of the dataset, ``DatasetXXX_Name``.
        beside: folders to look in first, such as those of models.

    Raises:
        ValueError: it is in none of the places.
    """
    folders = [*beside, *(folder / dataset for folder in set_folders("nnUNet_preprocessed", "nnUNet_raw"))]
    for folder in folders:
        if (folder / "dataset.json").is_file():
            return folder / "dataset.json"
    raise ValueError(f"{dataset}: no dataset.json; looked in {_listed(folders)}")


def reference_folder(dataset: str) -> Path:
    """The folder of a dataset's reference segmentations: nnU-Net's copy of them, else ``labelsTr``.

    Args:
        dataset: name of the dataset, ``DatasetXXX_Name``.

    Raises:
        ValueError: there is none.
    """
    folders = [folder / dataset / "gt_segmentations" for folder in set_folders("nnUNet_preprocessed")]
    folders += [folder / dataset / "labelsTr" for folder in set_folders("nnUNet_raw")]
    for folder in folders:
        if folder.is_dir() and any(folder.iterdir()):
            return folder
    raise ValueError(f"{dataset}: no reference segmentations; looked in {_listed(folders)}")


def segmentations_in(folder: Path, *endings: str) -> dict[str, Path]:
    """The segmentations in a folder, see :func:`files_by_case`.

    Raises:
        ValueError: there are none.
    """
    if files := files_by_case(folder, *endings):
        return files
    raise ValueError(f"{folder}: no reference segmentations ({', '.join(f'*{ending}' for ending in endings)})")


def training_labels(dataset: str, dataset_json: Mapping[str, Any]) -> dict[str, Path]:
    """The reference segmentations of the training cases, by case.

    Before preprocessing these are the files that ``dataset.json`` lists under ``dataset``, if it does so.

    Args:
        dataset: name of the dataset, ``DatasetXXX_Name``.
        dataset_json: its content.

    Raises:
        ValueError: there are none, or one that is listed is missing.
    """
    copies = [folder / dataset / "gt_segmentations" for folder in set_folders("nnUNet_preprocessed")]
    if "dataset" not in dataset_json or any(folder.is_dir() for folder in copies):
        return segmentations_in(reference_folder(dataset), dataset_json["file_ending"])
    files = {case: Path(entry["label"]) for case, entry in training_files(raw_dataset(dataset), dataset_json).items()}
    if missing := [str(path) for path in files.values() if not path.is_file()]:
        raise ValueError(f"{dataset}: dataset.json lists label files that do not exist: {shortened(missing)}")
    return files


def training_files(raw: Path, dataset_json: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Case → ``images`` and ``label``, as nnU-Net finds them: listed in ``dataset.json``, else by their names.

    Raises:
        ValueError: the list has another form.
    """
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    try:
        found = get_filenames_of_train_images_and_targets(str(raw), deepcopy(dict(dataset_json)))
        return {str(case): {"images": [*entry["images"]], "label": entry["label"]} for case, entry in found.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{raw / "dataset.json"}: dataset: expected {{"case": {{"images": [file, …], "label": file}}, …}} '
            f"({type(error).__name__}: {error})"
        ) from error


def set_folders(*variables: str) -> list[Path]:
    """The folders that those of nnU-Net's variables name which are set."""
    from nnunetv2 import paths

    found = (getattr(paths, variable) for variable in variables)
    return [Path(str(path)) for path in found if path.is_set()]


def _listed(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders)) or "nowhere, as nnUNet_preprocessed and nnUNet_raw are not set"
