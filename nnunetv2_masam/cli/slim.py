"""``nnUNetv2_masam slim``: a model folder whose checkpoints leave out what the SAM file holds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import add_model_folder, add_output_folder

if TYPE_CHECKING:
    from nnunetv2_masam.sharing.model_folder import ConvertedFolder

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
    from nnunetv2_masam.sharing.model_folder import SlimRequest, slim_folder

    return report(slim_folder(SlimRequest(args.folder, args.output, args.sam)))


def report(converted: ConvertedFolder) -> int:
    """Print what became of each checkpoint."""
    for checkpoint in converted.checkpoints:
        sizes = f"{checkpoint.bytes_before / 1e6:.1f} MB → {checkpoint.bytes_after / 1e6:.1f} MB"
        print(f"{checkpoint.path}: {checkpoint.change}; {sizes}")
    return 0
