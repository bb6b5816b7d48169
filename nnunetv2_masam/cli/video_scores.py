"""``nnUNetv2_masam video-scores``: IoU and Dice of predicted videos, frame by frame."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.arguments import add_output_folder, group
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.video.requests import ScoresRequest

REQUEST = ScoresRequest
EPILOG = """\
  nnUNetv2_masam video-scores -d 18 -i predictions -o scores
  nnUNetv2_masam video-scores -d 18 -i fold_0/validation fold_1/validation -o scores_of_two_folds

Writes scores.json and scores.md: mIoU and Dice over all frames, for each sequence and for each class, in the variants
of docs/video.md. "challenge" is the rule of EndoVis: for each frame, the classes that its reference holds.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where scores are written, which scoring does not depend on."""
    add_output_folder(parser, "Folder for scores.json and scores.md (default: print only)", required=False)
    add = group(parser, "output").add_argument
    add("--overwrite", action="store_true", help="Replace other scores in the output folder")


def run(args: argparse.Namespace) -> int:
    """Score, print the tables, write both files."""
    from nnunetv2_masam.video.score_folders import score_predictions

    scores = score_predictions(request_from(args, REQUEST))
    print(scores.tables, end="")
    if scores.reduced:
        print("Scored in the size of the cases, which are smaller than their frames; --original-size scores there")
    if args.output:
        scores.write(args.output, args.overwrite)
    return 0
