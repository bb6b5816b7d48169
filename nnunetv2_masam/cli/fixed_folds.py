"""``nnUNetv2_masam fixed-folds``: published splits as further folds of a dataset."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.folds.requests import PUBLISHED_SPLITS, FixedFoldsRequest

if TYPE_CHECKING:
    from nnunetv2_masam.folds.paper_splits import PublishedFolds

REQUEST = FixedFoldsRequest
EPILOG = """\
splits:
{splits}

Folds are appended to splits_final.json, before or after preprocessing; no fold changes its number.

  nnUNetv2_masam fixed-folds msd-pancreas-paper -d 7
  nnUNetv2_train 7 3d_fullres 5 -tr nnUNetTrainerMASAM
  nnUNetv2_masam compare -d 7 nnUNetTrainer nnUNetTrainerMASAM --folds 5
""".format(splits="\n".join(f"  {name:20s}{summary}" for name, summary in PUBLISHED_SPLITS.items()))


def run(args: argparse.Namespace) -> int:
    """Append the folds and print which fold is which."""
    from nnunetv2_masam.folds.paper_splits import append_published_folds

    print_folds(append_published_folds(request_from(args, REQUEST)))
    return 0


def print_folds(appended: PublishedFolds) -> None:
    """Print which fold is which."""
    print("appended to the folds of the cross-validation:")
    for entry in appended.folds:
        print(f"  fold {entry.fold}: {entry.name}")
    if overlap := appended.overlap():
        print(f"note: {overlap}. Scores of these folds are not of unseen cases")
    print(f"written: {appended.preprocessed / 'splits_final.json'}")
