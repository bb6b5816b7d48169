"""``nnUNetv2_masam few-shot`` and ``fixed-folds``: further folds of a dataset, for stock ``nnUNetv2_train``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.folds.requests import PUBLISHED_SPLITS, FewShotRequest, FixedFoldsRequest

if TYPE_CHECKING:
    from nnunetv2_masam.folds.paper_splits import PublishedFolds


def few_shot(args: argparse.Namespace) -> int:
    """Append the folds and print which fold is which."""
    from nnunetv2_masam.folds.few_shot import append_few_shot_folds
    from nnunetv2_masam.nnunet_files import dataset_number

    appended = append_few_shot_folds(request_from(args, FewShotRequest))
    for note in appended.notes:
        print(f"note: {note}")
    print("fold  k  validates as fold  training cases")
    for entry in appended.folds:
        note = f"  (no case holds: {', '.join(entry.missing_labels)})" if entry.missing_labels else ""
        cases = ", ".join(appended.training[entry.fold])
        print(f"{entry.fold:4d} {entry.k:2d}  {entry.base_fold:17d}  {cases}{note}")
    print(f"\nwritten: {appended.preprocessed / 'splits_final.json'}")
    number = dataset_number(appended.preprocessed.name)
    print(f"train with: nnUNetv2_train {number} CONFIGURATION FOLD -tr TRAINER -pretrained_weights FILE")
    return 0


def fixed_folds(args: argparse.Namespace) -> int:
    """Append the folds and print which fold is which."""
    from nnunetv2_masam.folds.paper_splits import append_published_folds

    print_folds(append_published_folds(request_from(args, FixedFoldsRequest)))
    return 0


def print_folds(appended: PublishedFolds) -> None:
    """Print which fold is which."""
    print("appended to the folds of the cross-validation:")
    for entry in appended.folds:
        print(f"  fold {entry.fold}: {entry.name}")
    if overlap := appended.overlap():
        print(f"note: {overlap}. Scores of these folds are not of unseen cases")
    print(f"written: {appended.preprocessed / 'splits_final.json'}")


FEW_SHOT = Command(
    "Append folds with few training cases to a dataset's splits",
    few_shot,
    FewShotRequest,
    """\
Appends folds to splits_final.json, one per k and fold of the cross-validation; no fold changes its number.

  nnUNetv2_masam few-shot -d 4 -k 1 3 5
  nnUNetv2_train 4 3d_fullres 5 -tr nnUNetTrainerMASAM -pretrained_weights checkpoint_final.pth
  nnUNetv2_masam compare -d 4 "U-Net, 3 cases=nnUNetTrainer@k3" "MA-SAM, 3 cases=nnUNetTrainerMASAM@k3"
""",
)

FIXED_FOLDS = Command(
    "Append published splits to a dataset's folds",
    fixed_folds,
    FixedFoldsRequest,
    """\
splits:
{splits}

Folds are appended to splits_final.json, before or after preprocessing; no fold changes its number.

  nnUNetv2_masam fixed-folds msd-pancreas-paper -d 7
  nnUNetv2_train 7 3d_fullres 5 -tr nnUNetTrainerMASAM
  nnUNetv2_masam compare -d 7 nnUNetTrainer nnUNetTrainerMASAM --folds 5
""".format(splits="\n".join(f"  {name:20s}{summary}" for name, summary in PUBLISHED_SPLITS.items())),
)
