"""Folds with few training cases, so that fine-tuning on 1, 3 or 5 cases runs with stock commands.

For each fold of the cross-validation and each k, one fold is appended to ``splits_final.json``, with k of its training
cases and all of its validation cases. ``few_shot.json`` beside it says which fold is which.

The cases are nested (the case of k = 1 is among those of k = 3), seeded, and chosen for their labels: each
next case is one that adds most to the labels that the chosen ones hold least often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_masam.files import write_json
from nnunetv2_masam.folds.fixed import read_fixed_folds
from nnunetv2_masam.folds.requests import FewShotRequest
from nnunetv2_masam.images import find_reader
from nnunetv2_masam.label_files import check_segment_names, defined_values, read_labels
from nnunetv2_masam.nnunet_files import (
    dataset_name,
    find_dataset_json,
    foreground_labels,
    preprocessed_dataset,
    read_dataset_json,
    training_labels,
)
from nnunetv2_masam.splits import SPLITS_FILE, describe_overlap, read_entries, read_or_make_splits

FEW_SHOT_FILE = "few_shot.json"


@dataclass(frozen=True)
class FewShotFold:
    """One appended fold.

    Attributes:
        fold: its number for ``nnUNetv2_train``.
        k: how many cases it trains on.
        base_fold: the fold of the cross-validation whose validation cases it has.
        seed: of the choice.
        missing_labels: labels that none of its training cases holds.
    """

    fold: int
    k: int
    base_fold: int
    seed: int
    missing_labels: tuple[str, ...] = ()


def read_few_shot_folds(preprocessed: Path) -> list[FewShotFold]:
    """The folds that were appended to a dataset's splits; none if there are none."""
    fields = {"fold": int, "k": int, "base_fold": int, "seed": int, "missing_labels": list}
    entries = read_entries(preprocessed / FEW_SHOT_FILE, fields)
    return [FewShotFold(**{**entry, "missing_labels": tuple(map(str, entry["missing_labels"]))}) for entry in entries]


def fold_map(folds: Sequence[FewShotFold], k: int, seed: int | None = None) -> dict[int, int]:
    """Few-shot fold → fold of the cross-validation, for one k.

    Raises:
        ValueError: if there are none, or several seeds to choose from.
    """
    found = [entry for entry in folds if entry.k == k and seed in (None, entry.seed)]
    seeds = sorted({entry.seed for entry in found})
    if not found:
        there = sorted({f"@k{entry.k}s{entry.seed}" for entry in folds})
        raise ValueError(f"no few-shot folds with k = {k}; there are: {', '.join(there) or 'none'}")
    if len(seeds) > 1:
        raise ValueError(f"few-shot folds with k = {k} exist with the seeds {seeds}: write @k{k}s{seeds[0]}")
    return {entry.fold: entry.base_fold for entry in found}


def choose_cases(labels_of_case: Mapping[str, frozenset[str]], count: int, seed: int) -> list[str]:
    """Choose cases one after the other, so that fewer are always the first of more.

    Args:
        labels_of_case: the labels that each case holds.
        count: how many to choose.
        seed: decides between cases that add equally much.
    """
    order = list(np.random.default_rng(seed).permutation(sorted(labels_of_case)))
    held: Counter[str] = Counter()
    base = 1.0 + len(frozenset().union(*labels_of_case.values()))
    chosen: list[str] = []
    while len(chosen) < count:
        # one label that is held less often outweighs all that are held more often
        gain = {case: sum(base ** -held[label] for label in labels_of_case[case]) for case in order}
        best = max(order, key=gain.__getitem__)
        order.remove(best)
        held.update(labels_of_case[best])
        chosen.append(str(best))
    return chosen


def add_few_shot_folds(
    splits: Sequence[Mapping[str, Sequence[str]]],
    existing: Sequence[FewShotFold],
    labels_of_case: Mapping[str, frozenset[str]],
    ks: Sequence[int],
    base_folds: Sequence[int] | None,
    seed: int,
    fixed_folds: Collection[int] = (),
) -> tuple[list[dict[str, list[str]]], list[FewShotFold]]:
    """Append folds for each k and each fold of the cross-validation, unless they are there.

    Args:
        splits: of ``splits_final.json``.
        existing: what was appended before.
        labels_of_case: the labels that each case holds.
        ks: numbers of training cases.
        base_folds: folds of the cross-validation, or fixed ones; all of the cross-validation by default.
        seed: of the choice.
        fixed_folds: folds that are not part of the cross-validation.

    Returns:
        the new splits, and all few-shot folds.
    """
    existing = [entry for entry in existing if entry.fold < len(splits)]  # else writing was interrupted
    appended = {entry.fold for entry in existing}
    originals = [fold for fold in range(len(splits)) if fold not in appended]
    wanted = [fold for fold in originals if fold not in fixed_folds] if base_folds is None else list(base_folds)
    if unknown := sorted(set(wanted) - set(originals)):
        raise ValueError(f"--folds {unknown}: the cross-validation has the folds {originals}")
    if overlap := describe_overlap(splits, wanted):
        raise ValueError(f"{overlap}. Correct the file, or choose other folds with --folds")
    all_labels = frozenset().union(*labels_of_case.values())
    there = {(entry.k, entry.base_fold, entry.seed) for entry in existing}
    new_splits = [{part: list(cases) for part, cases in split.items()} for split in splits]
    folds = list(existing)
    for k in sorted(set(ks)):
        for base in wanted:
            training = splits[base]["train"]
            if not 0 < k <= len(training):
                raise ValueError(f"-k {k}: fold {base} has {len(training)} training cases, so 1 to {len(training)}")
            if (k, base, seed) in there:
                continue
            chosen = choose_cases({case: labels_of_case[case] for case in training}, k, seed + base)
            missing = all_labels.difference(*(labels_of_case[case] for case in chosen))
            folds.append(FewShotFold(len(new_splits), k, base, seed, tuple(sorted(missing))))
            new_splits.append({"train": chosen, "val": list(splits[base]["val"])})
    return new_splits, folds


def write_few_shot_folds(
    preprocessed: Path, splits: Sequence[Mapping[str, Sequence[str]]], folds: Sequence[FewShotFold]
) -> None:
    """Write both files; the splits last, and each in one step, so that an interruption leaves no half."""
    write_json(preprocessed / FEW_SHOT_FILE, [asdict(entry) for entry in folds])
    write_json(preprocessed / SPLITS_FILE, splits)


@dataclass(frozen=True)
class FewShotFolds:
    """The few-shot folds that a dataset has.

    Attributes:
        preprocessed: the dataset's folder, with ``splits_final.json``.
        folds: which fold is which, those that were there before included.
        training: fold → its training cases.
        notes: on label files whose values are not whole.
    """

    preprocessed: Path
    folds: tuple[FewShotFold, ...]
    training: Mapping[int, Sequence[str]]
    notes: tuple[str, ...] = ()


def append_few_shot_folds(request: FewShotRequest) -> FewShotFolds:
    """Choose training cases by the labels they hold, and append a fold for each k and each base fold.

    Raises:
        ValueError: there is no such dataset, a segmentation cannot be read, or a k or fold is impossible.
    """
    name = dataset_name(request.dataset)
    preprocessed = preprocessed_dataset(name)
    dataset_json = read_dataset_json(find_dataset_json(name))
    files = training_labels(name, dataset_json)
    splits = read_or_make_splits(preprocessed, list(files))
    used = {case for split in splits for case in [*split["train"], *split["val"]]}
    if unknown := sorted(used - set(files)):
        ending = dataset_json["file_ending"]
        hint = f". Case names have no {ending}" if unknown[0].endswith(ending) else ""
        raise ValueError(f"{SPLITS_FILE} names cases without a reference segmentation: {', '.join(unknown)}{hint}")
    existing = read_few_shot_folds(preprocessed)
    fixed = {entry.fold for entry in read_fixed_folds(preprocessed)}
    labels, notes = labels_of_cases(files, dataset_json)
    splits, folds = add_few_shot_folds(splits, existing, labels, request.ks, request.base_folds, request.seed, fixed)
    write_few_shot_folds(preprocessed, splits, folds)
    training = {entry.fold: splits[entry.fold]["train"] for entry in folds}
    return FewShotFolds(preprocessed, tuple(folds), training, tuple(notes))


def labels_of_cases(
    files: Mapping[str, Path], dataset_json: Mapping[str, Any]
) -> tuple[dict[str, frozenset[str]], list[str]]:
    """The names of the labels and regions that each segmentation holds, and notes on values that are not whole.

    Args:
        files: segmentations by case.
        dataset_json: content of the dataset's ``dataset.json``.

    Raises:
        ValueError: a segmentation cannot be read, or holds other values than ``dataset.json`` has.
    """
    from tqdm import tqdm

    labels = {name: np.atleast_1d(value).astype(int) for name, value in foreground_labels(dataset_json).items()}
    reader = find_reader(dataset_json, None, next(iter(files.values())))
    allowed = defined_values(dataset_json)
    found, notes = {}, []
    for case, path in tqdm(files.items(), desc="reading labels", unit="case", disable=None):
        check_segment_names(path, dataset_json["labels"])
        held = read_labels(path, reader, allowed)
        values = np.unique(held.labels)
        found[case] = frozenset(name for name, value in labels.items() if np.isin(value, values).any())
        notes += [held.note] if held.note else []
    return found, notes
