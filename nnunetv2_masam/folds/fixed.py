"""Folds of given splits, appended to a dataset's ``splits_final.json``.

``fixed_folds.json`` beside it says which folds these are: they are not part of the cross-validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunetv2_masam.files import write_json
from nnunetv2_masam.splits import SPLITS_FILE, Split, read_entries, read_or_make_splits

FIXED_FILE = "fixed_folds.json"


@dataclass(frozen=True)
class FixedFold:
    """One appended fold.

    Attributes:
        fold: its number for ``nnUNetv2_train``.
        name: which split it is, such as ``btcv-paper``.
    """

    fold: int
    name: str


def read_fixed_folds(preprocessed: Path) -> list[FixedFold]:
    """The fixed folds that were appended to a dataset's splits; none if there are none."""
    entries = read_entries(preprocessed / FIXED_FILE, {"fold": int, "name": str})
    return [FixedFold(**entry) for entry in entries]


def append_fixed_folds(preprocessed: Path, cases: Sequence[str], wanted: Mapping[str, Split]) -> list[FixedFold]:
    """Append folds to a dataset's splits, unless they are there.

    Args:
        preprocessed: the dataset's folder under nnUNet_preprocessed; made if it is missing.

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
    """Refuse folds that a dataset with these cases cannot have.

    Raises:
        ValueError: with the first thing that is wrong.
    """
    for name, split in wanted.items():
        if missing := sorted({*split["train"], *split["val"]} - set(cases)):
            there = f"it has {len(cases)}, such as {sorted(cases)[0]}" if cases else "it has none"
            raise ValueError(f"split {name}: cases that the dataset does not have: {', '.join(missing)}; {there}")
        if both := sorted(set(split["train"]) & set(split["val"])):
            raise ValueError(f"split {name}: cases both for training and for validation: {', '.join(both)}")
        if empty := [part for part in ("train", "val") if not split[part]]:
            raise ValueError(f"split {name}: no case for {' and '.join(empty)}")
