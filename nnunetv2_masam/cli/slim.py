"""``nnUNetv2_masam slim``: a model folder whose checkpoints leave out what the SAM file holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.sharing.model_folder import slim_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Folder in, folder out, and optionally the SAM file."""
    parser.add_argument("folder", type=Path, help="Model folder (plans.json, dataset.json, fold_*)")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="OUT", help="New folder to write")
    parser.add_argument(
        "--sam",
        type=Path,
        metavar="FILE",
        help="SAM file that the model was trained from (default: MASAM_CHECKPOINT or the cache)",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was left out of each checkpoint."""
    for line in slim_folder(args.folder, args.out, args.sam):
        print(line)
    return 0
