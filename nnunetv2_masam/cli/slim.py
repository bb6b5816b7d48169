"""``nnUNetv2_masam slim``: a model folder whose checkpoints leave out what the SAM file holds."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.arguments import add_model_folder, add_output_folder

EPILOG = """\
  nnUNetv2_masam slim nnUNetTrainerMASAM__nnUNetPlans__3d_fullres -o slim
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Folder in, folder out, and optionally the SAM file."""
    parser.epilog = EPILOG
    add_model_folder(parser, "SAM file that the model was trained from")
    add_output_folder(parser, "New folder to write")


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was left out of each checkpoint."""
    from nnunetv2_masam.sharing.model_folder import slim_folder

    for line in slim_folder(args.folder, args.output, args.sam):
        print(line)
    return 0
