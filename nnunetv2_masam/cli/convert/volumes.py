"""What the converters of volumes share: arguments, and what is printed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import add_new_dataset, add_processes, group
from nnunetv2_masam.cli.fixed_folds import print_folds

if TYPE_CHECKING:
    from nnunetv2_masam.datasets.convert import ConvertedDataset, ConvertRequest


def add_arguments(parser: argparse.ArgumentParser, epilog: str) -> None:
    """Declare what every converter of volumes takes."""
    parser.epilog = epilog
    add = group(parser, "input").add_argument
    add("source", type=Path, metavar="SRC", help="Folder with the data as published")
    add("--partial", action="store_true", help="Convert what is there where the dataset is incomplete")
    add(
        "--copy-geometry",
        action="store_true",
        help="Give a label file the spacing, origin and direction of its image where they differ",
    )
    add_new_dataset(parser)
    add_processes(parser, most=4)


def request_of(args: argparse.Namespace, splits: list[str]) -> ConvertRequest:
    """The arguments of :func:`add_arguments`, and splits whose folds are appended."""
    from nnunetv2_masam.datasets.convert import ConvertRequest

    return ConvertRequest(
        args.source, args.dataset_id, args.partial, args.copy_geometry, args.processes, splits=tuple(splits)
    )


def report(converted: ConvertedDataset) -> int:
    """Print what was found and written."""
    from nnunetv2_masam.datasets.raw_dataset import describe
    from nnunetv2_masam.nnunet_files import dataset_number

    print(describe(converted.dataset))
    if converted.folds is not None:
        print_folds(converted.folds)
    number = dataset_number(converted.dataset.folder.name)
    print(f"next: nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity")
    return 0
