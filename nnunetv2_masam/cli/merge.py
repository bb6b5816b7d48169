"""``nnUNetv2_masam merge``: a model folder whose checkpoints need no SAM file."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.arguments import add_model_folder, add_output_folder, group
from nnunetv2_masam.cli.slim import report

EPILOG = """\
  nnUNetv2_masam merge slim -o merged
  nnUNetv2_masam merge nnUNetTrainerMASAM__nnUNetPlans__3d_fullres -o folded --fold
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Folder in, folder out, optionally the SAM file, and whether FacT or LoRA is folded in."""
    parser.epilog = EPILOG
    add_model_folder(parser, "SAM file that is needed")
    add_output_folder(parser, "New folder to write")
    group(parser, "output").add_argument(
        "--fold",
        action="store_true",
        help="Add FacT's or LoRA's increments to the query and value weights; the result cannot be trained on",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and say what became of each checkpoint."""
    from nnunetv2_masam.sharing.model_folder import MergeRequest, merge_folder

    return report(merge_folder(MergeRequest(args.folder, args.output, args.sam, args.fold)))
