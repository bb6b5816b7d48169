"""``nnUNetv2_masam few-shot``: splits with few training cases, for stock ``nnUNetv2_train``."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.arguments import add_dataset, group, positive_int, whole_number

EPILOG = """\
Appends folds to splits_final.json, one per k and fold of the cross-validation; no fold changes its number.

  nnUNetv2_masam few-shot -d 4 -k 1 3 5
  nnUNetv2_train 4 3d_fullres 5 -tr nnUNetTrainerMASAM -pretrained_weights checkpoint_final.pth
  nnUNetv2_masam compare -d 4 "U-Net, 3 cases=nnUNetTrainer@k3" "MA-SAM, 3 cases=nnUNetTrainerMASAM@k3"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``few-shot``."""
    parser.epilog = EPILOG
    add_dataset(parser, "Number or name of the dataset; must be preprocessed")
    add = group(parser, "folds").add_argument
    add(
        "-k",
        "--training-cases",
        nargs="+",
        type=positive_int,
        required=True,
        metavar="K",
        help="Numbers of training cases",
    )
    add(
        "--folds",
        nargs="+",
        type=whole_number,
        metavar="F",
        help="Folds of the cross-validation, or fixed folds (default: all of the cross-validation)",
    )
    add("--seed", type=whole_number, default=0, metavar="N", help="Seed of the choice of cases (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Append the folds and print which fold is which."""
    from nnunetv2_masam.folds.few_shot import FewShotRequest, append_few_shot_folds
    from nnunetv2_masam.nnunet_files import dataset_number

    folds = None if args.folds is None else tuple(args.folds)
    appended = append_few_shot_folds(FewShotRequest(args.dataset, tuple(args.training_cases), folds, args.seed))
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
