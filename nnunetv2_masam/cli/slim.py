"""``nnUNetv2_masam slim``: a model folder whose checkpoints leave out what the SAM file holds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.sharing.requests import SlimRequest

if TYPE_CHECKING:
    from nnunetv2_masam.sharing.model_folder import ConvertedFolder

REQUEST = SlimRequest
EPILOG = """\
  nnUNetv2_masam slim nnUNetTrainerMASAM__nnUNetPlans__3d_fullres -o slim
"""


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was left out of each checkpoint."""
    from nnunetv2_masam.sharing.model_folder import slim_folder

    return report(slim_folder(request_from(args, REQUEST)))


def report(converted: ConvertedFolder) -> int:
    """Print what became of each checkpoint."""
    for checkpoint in converted.checkpoints:
        sizes = f"{checkpoint.bytes_before / 1e6:.1f} MB → {checkpoint.bytes_after / 1e6:.1f} MB"
        print(f"{checkpoint.path}: {checkpoint.change}; {sizes}")
    return 0
