"""``nnUNetv2_masam video-scores``: IoU and Dice of predicted videos, frame by frame."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.arguments import add_dataset, add_output_folder, group

EPILOG = """\
  nnUNetv2_masam video-scores -d 18 -i predictions -o scores
  nnUNetv2_masam video-scores -d 18 -i fold_0/validation fold_1/validation -o scores_of_two_folds

Writes scores.json and scores.md: mIoU and Dice over all frames, for each sequence and for each class, in the variants
of docs/video.md. "challenge" is the rule of EndoVis: for each frame, the classes that its reference holds.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``video-scores``."""
    parser.epilog = EPILOG
    add_dataset(parser, "Dataset that the cases belong to")
    add = group(parser, "input").add_argument
    add(
        "-i",
        "--predictions",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="Folders of nnU-Net's predictions",
    )
    add(
        "-r",
        "--references",
        type=Path,
        metavar="DIR",
        help="Folder of references (default: the dataset's labelsTr and labelsTs)",
    )
    add(
        "--original-size",
        action="store_true",
        help="Score in the size of the frames, where convert has reduced them (default: that of the cases)",
    )
    add_output_folder(parser, "Folder for scores.json and scores.md (default: print only)", required=False)
    add = group(parser, "output").add_argument
    add("--overwrite", action="store_true", help="Replace other scores in the output folder")


def run(args: argparse.Namespace) -> int:
    """Score, print the tables, write both files."""
    from nnunetv2_masam.video.score_folders import ScoresRequest, score_predictions

    request = ScoresRequest(args.dataset, tuple(args.predictions), args.references, args.original_size)
    scores = score_predictions(request)
    print(scores.tables, end="")
    if scores.reduced:
        print("Scored in the size of the cases, which are smaller than their frames; --original-size scores there")
    if args.output:
        scores.write(args.output, args.overwrite)
    return 0
