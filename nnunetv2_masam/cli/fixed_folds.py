"""``nnUNetv2_masam fixed-folds``: published splits as further folds of a dataset."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import add_dataset, group

if TYPE_CHECKING:
    from nnunetv2_masam.folds.paper_splits import PublishedFolds

SUMMARIES = {
    "btcv-paper": "the MA-SAM authors' 24 and 6 cases of BTCV",
    "prostate6-paper": "their split of the six-site prostate data: one fold over all sites, one for each site",
    "prostate6-by-site": "train on five prostate sites, validate on the sixth: six folds",
    "msd-pancreas-paper": "their five splits of the Medical Segmentation Decathlon's pancreas",
}
EPILOG = """\
splits:
{splits}

Folds are appended to splits_final.json, before or after preprocessing; no fold changes its number.

  nnUNetv2_masam fixed-folds msd-pancreas-paper -d 7
  nnUNetv2_train 7 3d_fullres 5 -tr nnUNetTrainerMASAM
  nnUNetv2_masam compare -d 7 nnUNetTrainer nnUNetTrainerMASAM --folds 5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``fixed-folds``."""
    parser.epilog = EPILOG.format(splits="\n".join(f"  {name:20s}{summary}" for name, summary in SUMMARIES.items()))
    add_dataset(parser)
    add = group(parser, "folds").add_argument
    add("split", choices=list(SUMMARIES), metavar="SPLIT", help=f"One of {', '.join(SUMMARIES)}")


def run(args: argparse.Namespace) -> int:
    """Append the folds and print which fold is which."""
    from nnunetv2_masam.folds.paper_splits import append_published_folds

    print_folds(append_published_folds(args.dataset, args.split))
    return 0


def print_folds(appended: PublishedFolds) -> None:
    """Print which fold is which."""
    print("appended to the folds of the cross-validation:")
    for entry in appended.folds:
        print(f"  fold {entry.fold}: {entry.name}")
    if overlap := appended.overlap():
        print(f"note: {overlap}. Scores of these folds are not of unseen cases")
    print(f"written: {appended.preprocessed / 'splits_final.json'}")
