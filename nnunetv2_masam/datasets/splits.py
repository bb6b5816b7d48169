"""``splits_final.json`` of a data set: what nnU-Net would write there, and folds of fixed splits appended to it.

A fold's number is all that stock commands take. So a split that somebody has published becomes one more fold behind
the five of the cross-validation, and nothing that is there changes its number. ``fixed_folds.json`` beside it says
which folds these are: they are not part of the cross-validation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunetv2_masam.files import write_json

SPLITS_FILE = "splits_final.json"
FIXED_FILE = "fixed_folds.json"
CROSS_VALIDATION_FOLDS = 5

# {"train": [...], "val": [...]}
Split = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class FixedFold:
    """One appended fold.

    Attributes:
        fold: its number for ``nnUNetv2_train``.
        name: which split it is, such as ``btcv-paper``.
    """

    fold: int
    name: str


def read_or_make_splits(preprocessed: Path, cases: Sequence[str]) -> list[dict[str, list[str]]]:
    """``splits_final.json``, or what nnU-Net would write there at the first training.

    Args:
        preprocessed: the data set's folder under nnUNet_preprocessed; need not exist.
        cases: names of the training cases.

    Raises:
        ValueError: if there are fewer cases than folds.
    """
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    path = preprocessed / SPLITS_FILE
    if path.is_file():
        splits: list[dict[str, list[str]]] = json.loads(path.read_text())
        return splits
    if len(cases) < CROSS_VALIDATION_FOLDS:
        raise ValueError(
            f"{preprocessed.name}: {len(cases)} training cases are too few for nnU-Net's {CROSS_VALIDATION_FOLDS} folds"
        )
    made = generate_crossval_split(sorted(cases), seed=12345, n_splits=CROSS_VALIDATION_FOLDS)
    return [{part: [str(case) for case in found] for part, found in split.items()} for split in made]


def read_fixed_folds(preprocessed: Path) -> list[FixedFold]:
    """The fixed folds that were appended to a data set's splits; none if there are none."""
    path = preprocessed / FIXED_FILE
    return [FixedFold(**entry) for entry in json.loads(path.read_text())] if path.is_file() else []


def append_fixed_folds(preprocessed: Path, cases: Sequence[str], wanted: Mapping[str, Split]) -> list[FixedFold]:
    """Append folds to a data set's splits, unless they are there.

    Args:
        preprocessed: the data set's folder under nnUNet_preprocessed; made if it is missing.
        cases: names of the training cases.
        wanted: the folds by name.

    Returns:
        the folds with these names.

    Raises:
        ValueError: if a fold names a case that is not there, or one both for training and for validation.
    """
    check_fixed_folds(cases, wanted)
    splits = read_or_make_splits(preprocessed, cases)
    # a number beyond the splits means that writing was interrupted
    folds = [entry for entry in read_fixed_folds(preprocessed) if entry.fold < len(splits)]
    there = {entry.name for entry in folds}
    for name, split in wanted.items():
        if name not in there:
            folds.append(FixedFold(len(splits), name))
            splits.append({part: sorted(split[part]) for part in ("train", "val")})
    preprocessed.mkdir(parents=True, exist_ok=True)
    write_json(preprocessed / FIXED_FILE, [asdict(entry) for entry in folds])
    write_json(preprocessed / SPLITS_FILE, splits)
    return [entry for entry in folds if entry.name in wanted]


def check_fixed_folds(cases: Sequence[str], wanted: Mapping[str, Split]) -> None:
    """Refuse folds that a data set with these cases cannot have.

    Raises:
        ValueError: with the first thing that is wrong.
    """
    for name, split in wanted.items():
        if missing := sorted({*split["train"], *split["val"]} - set(cases)):
            there = f"it has {len(cases)}, such as {sorted(cases)[0]}" if cases else "it has none"
            raise ValueError(f"split {name}: cases that the data set does not have: {', '.join(missing)}; {there}")
        if both := sorted(set(split["train"]) & set(split["val"])):
            raise ValueError(f"split {name}: cases both for training and for validation: {', '.join(both)}")
        if empty := [part for part in ("train", "val") if not split[part]]:
            raise ValueError(f"split {name}: no case for {' and '.join(empty)}")
