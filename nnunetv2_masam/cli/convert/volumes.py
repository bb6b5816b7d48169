"""Shared by the converters of volumes: the option for processes, and printing of the result."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import group, positive_int
from nnunetv2_masam.cli.fixed_folds import print_folds
from nnunetv2_masam.processes import usable_cpus

if TYPE_CHECKING:
    from nnunetv2_masam.datasets.convert import ConvertedDataset


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add ``-np``, which is more than the one of the request where the machine has more cores."""
    group(parser, "speed").add_argument(
        "-np",
        "--processes",
        type=positive_int,
        default=min(4, usable_cpus()),
        metavar="N",
        help="Number of processes (default: %(default)s)",
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
