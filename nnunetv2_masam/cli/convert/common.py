"""What the converters of volumes share: arguments, the order of things, what is printed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunetv2_masam.datasets.raw_dataset import DatasetSpec
    from nnunetv2_masam.datasets.splits import FixedFold
    from nnunetv2_masam.datasets.volumes import LabelRule, Volume


def add_arguments(parser: argparse.ArgumentParser, epilog: str) -> None:
    """Declare what every converter of volumes takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = epilog
    add = parser.add_argument
    add("source", type=Path, metavar="SRC", help="folder with the data as published")
    add("-d", "--dataset", type=int, required=True, metavar="ID", help="number of the new data set")
    add("-np", "--processes", type=int, default=min(4, os.cpu_count() or 1), metavar="N", help="[%(default)s]")
    add("--partial", action="store_true", help="convert what is there where the data set is incomplete")
    add(
        "--copy-geometry",
        action="store_true",
        help="where a label file has another spacing, origin or direction than its image, give it the image's",
    )


def convert(
    args: argparse.Namespace, volumes: Sequence[Volume], spec: DatasetSpec, rule: LabelRule, splits: Sequence[str]
) -> int:
    """Convert into a new data set, append the named splits, and print what was found.

    Everything that can be refused without reading images is refused first.
    """
    from nnunetv2_masam.datasets.paper_splits import SPLITS
    from nnunetv2_masam.datasets.raw_dataset import describe, free_folder, write_dataset
    from nnunetv2_masam.datasets.splits import append_fixed_folds, check_fixed_folds

    folder = free_folder(args.dataset, spec.name)
    cases = [volume.case for volume in volumes if volume.label is not None]
    folds = {name: split for kind in splits for name, split in SPLITS[kind](cases).items()}
    check_fixed_folds(cases, folds)
    preprocessed = preprocessed_folder(folder.name) if folds else None
    dataset = write_dataset(folder, spec, volumes, rule, args.processes)
    print(describe(dataset))
    if preprocessed is not None:
        print_folds(append_fixed_folds(preprocessed, cases, folds), preprocessed)
    print(f"next: nnUNetv2_plan_and_preprocess -d {args.dataset} --verify_dataset_integrity")
    return 0


def preprocessed_folder(dataset: str) -> Path:
    """Where nnU-Net keeps the splits of a data set."""
    from nnunetv2.paths import nnUNet_preprocessed

    if not nnUNet_preprocessed.is_set():
        raise ValueError("nnUNet_preprocessed is not set: splits_final.json belongs there")
    return Path(str(nnUNet_preprocessed)) / dataset


def print_folds(folds: Sequence[FixedFold], preprocessed: Path) -> None:
    """Say which fold is which."""
    print("appended to the folds of the cross-validation:")
    for entry in folds:
        print(f"  fold {entry.fold}: {entry.name}")
    print(f"written: {preprocessed / 'splits_final.json'}")
