"""``nnUNetv2_masam few-shot``: splits with few training cases, for stock ``nnUNetv2_train``."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.folds.requests import FewShotRequest

REQUEST = FewShotRequest
EPILOG = """\
Appends folds to splits_final.json, one per k and fold of the cross-validation; no fold changes its number.

  nnUNetv2_masam few-shot -d 4 -k 1 3 5
  nnUNetv2_train 4 3d_fullres 5 -tr nnUNetTrainerMASAM -pretrained_weights checkpoint_final.pth
  nnUNetv2_masam compare -d 4 "U-Net, 3 cases=nnUNetTrainer@k3" "MA-SAM, 3 cases=nnUNetTrainerMASAM@k3"
"""


def run(args: argparse.Namespace) -> int:
    """Append the folds and print which fold is which."""
    from nnunetv2_masam.folds.few_shot import append_few_shot_folds
    from nnunetv2_masam.nnunet_files import dataset_number

    appended = append_few_shot_folds(request_from(args, REQUEST))
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
