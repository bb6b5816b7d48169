"""Check a dataset's files for faults that would stop a training or silently spoil it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunetv2_masam.images import check_scalar, find_reader, read_header
from nnunetv2_masam.label_files import REPAIR, check_segment_names, defined_values, read_labels
from nnunetv2_masam.nnunet_files import (
    dataset_name,
    find_dataset_json,
    preprocessed_dataset,
    raw_dataset,
    read_dataset_json,
    training_files,
    training_labels,
)
from nnunetv2_masam.splits import SPLITS_FILE, describe_overlap, read_splits

SAME_PLACE = 1e-3  # mm, or of a cosine: a NIfTI header rounds


@dataclass(frozen=True)
class Fault:
    """A fault of a dataset.

    Attributes:
        subject: the case or file.
        detail: what is wrong.
        remedy: what to do.
    """

    subject: str
    detail: str
    remedy: str


def nonfinite_cases(folder: Path) -> Iterator[tuple[str, int]]:
    """Cases of a preprocessed folder with values that are not finite, and how many there are in each.

    Args:
        folder: such as ``nnUNet_preprocessed/DatasetXXX_Name/nnUNetPlans_3d_fullres``. All of it is read.
    """
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    dataset = infer_dataset_class(str(folder))
    identifiers = dataset.get_identifiers(str(folder))
    cases = dataset(str(folder), identifiers)
    for case in sorted(identifiers):
        data = np.asarray(cases.load_case(case)[0][:])
        count = data.size - int(np.isfinite(data).sum())
        if count:
            yield case, count


def faults_of_files(dataset: str) -> Iterator[Fault]:
    """Find faults that nnU-Net would train on without a message: in label values, images and folds.

    Args:
        dataset: number or name. All of its label files, and the headers of its images, are read.

    Raises:
        ValueError: there is no such dataset, or it has no label files.
    """
    name = dataset_name(dataset)
    dataset_json = read_dataset_json(find_dataset_json(name))
    labels = training_labels(name, dataset_json)
    reader, allowed = find_reader(dataset_json, None, next(iter(labels.values()))), defined_values(dataset_json)
    for case, path in labels.items():
        try:
            note = read_labels(path, reader, allowed).note
        except ValueError as error:
            yield Fault(case, str(error), f"{REPAIR}, then preprocess again")
            continue
        if note:
            yield Fault(case, note, "save it with an integer type, then preprocess again")
        try:
            check_segment_names(path, dataset_json["labels"])
        except ValueError as error:
            yield Fault(case, str(error), "correct the label files, then preprocess again")
    if reader.__name__ != "NaturalImage2DIO":  # which takes the colours of a picture for channels
        yield from _faults_of_images(name, dataset_json)
    splits_file = preprocessed_dataset(name) / SPLITS_FILE
    if splits_file.is_file():
        splits = read_splits(splits_file)
        if overlap := describe_overlap(splits, range(len(splits))):
            yield Fault(SPLITS_FILE, overlap, f"correct {splits_file}; the scores of these folds are too good")


def check_folds(preprocessed: Path, folds: Collection[int]) -> None:
    """Refuse folds that validate on cases that they train on.

    Args:
        preprocessed: the dataset's folder, with ``splits_final.json`` if there is one.
        folds: those to look at.

    Raises:
        ValueError: naming the file, the folds and the cases.
    """
    path = preprocessed / SPLITS_FILE
    if path.is_file():
        splits = read_splits(path)
        if overlap := describe_overlap(splits, [fold for fold in folds if fold < len(splits)]):
            raise ValueError(f"{overlap}. Correct {path}, or choose other folds with --folds")


def _faults_of_images(dataset: str, dataset_json: Mapping[str, Any]) -> Iterator[Fault]:
    try:
        cases = training_files(raw_dataset(dataset), dataset_json)
    except ValueError:  # a preprocessed dataset can be trained without its raw files
        return
    for case, entry in cases.items():
        sizes: dict[Path, tuple[int, ...]] = {}
        for path in map(Path, entry["images"]):
            try:
                check_scalar(path)
                sizes[path] = read_header(path).GetSize()
            except ValueError as error:
                yield Fault(case, str(error), "write it anew, then preprocess again")
            except RuntimeError:  # a format that ITK does not have
                continue
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{path} has {size}" for path, size in sizes.items())
            yield Fault(case, f"channels of unequal size (x, y, z): {shown}", "resample one of them")
        elif sizes:
            yield from _faults_of_place(case, next(iter(sizes)), Path(entry["label"]))


def _faults_of_place(case: str, image: Path, label: Path) -> Iterator[Fault]:
    """Where a label file lies elsewhere than its image: nnU-Net warns of it, and trains voxel by voxel."""
    try:
        here, there = read_header(label), read_header(image)
    except RuntimeError:  # it is named as unreadable, or of another format
        return
    for what in ("Size", "Spacing", "Origin", "Direction"):
        ours, theirs = (getattr(header, f"Get{what}")() for header in (here, there))
        if len(ours) != len(theirs) or not np.allclose(ours, theirs, rtol=0, atol=SAME_PLACE):
            detail = f"{label}: {what.lower()} {np.round(ours, 3).tolist()}, its image {np.round(theirs, 3).tolist()}"
            yield Fault(case, detail, "look at both in a viewer, and correct the header of the one that is wrong")
            return
