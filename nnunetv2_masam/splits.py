"""Read and check a dataset's ``splits_final.json``, or make the splits that nnU-Net would write."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import read_json, shortened

SPLITS_FILE = "splits_final.json"
CROSS_VALIDATION_FOLDS = 5
SPLIT_SEED = 12345  # nnU-Net's

# {"train": [...], "val": [...]}
Split = Mapping[str, Sequence[str]]


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """Read a ``splits_final.json``.

    Raises:
        ValueError: it cannot be read, or is not a list of ``{"train": [case, …], "val": [case, …]}``.
    """
    content = read_json(path, list)
    for fold, split in enumerate(content):
        if not isinstance(split, dict) or not all(_is_list_of_names(split.get(part)) for part in ("train", "val")):
            raise ValueError(f'{path}: fold {fold} is not {{"train": ["case", …], "val": ["case", …]}}')
    return [{part: split[part] for part in ("train", "val")} for split in content]


def read_or_make_splits(preprocessed: Path, cases: Sequence[str]) -> list[dict[str, list[str]]]:
    """``splits_final.json``, or what nnU-Net would write there at the first training.

    Args:
        preprocessed: the dataset's folder under nnUNet_preprocessed; need not exist.
        cases: names of the training cases.

    Raises:
        ValueError: there are fewer cases than folds, or the file cannot be read.
    """
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    path = preprocessed / SPLITS_FILE
    if path.is_file():
        return read_splits(path)
    if len(cases) < CROSS_VALIDATION_FOLDS:
        raise ValueError(
            f"{preprocessed.name}: {len(cases)} training cases are too few for nnU-Net's {CROSS_VALIDATION_FOLDS} folds"
        )
    made = generate_crossval_split(sorted(cases), seed=SPLIT_SEED, n_splits=CROSS_VALIDATION_FOLDS)
    return [{part: [str(case) for case in found] for part, found in split.items()} for split in made]


def describe_overlap(splits: Sequence[Split], folds: Collection[int]) -> str:
    """Name the validation cases that are also training cases of the same fold; "" if none is."""
    shared = {fold: sorted(set(splits[fold]["train"]) & set(splits[fold]["val"])) for fold in sorted(folds)}
    found = [f"fold {fold}: {shortened(cases)}" for fold, cases in shared.items() if cases]
    return f"{SPLITS_FILE} has validation cases that are also training cases: {'; '.join(found)}" if found else ""


def read_entries(path: Path, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """Read a list of objects with these fields, such as ``fixed_folds.json``; empty if there is no such file.

    Raises:
        ValueError: it cannot be read, or an entry has other fields.
    """
    if not path.is_file():
        return []
    content = read_json(path, list)
    for number, entry in enumerate(content):
        if not isinstance(entry, dict) or {name: type(value) for name, value in entry.items()} != dict(fields):
            wanted = ", ".join(f"{name} ({kind.__name__})" for name, kind in fields.items())
            raise ValueError(f"{path}: entry {number} is {entry!r}, expected an object with {wanted}")
    return content


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
