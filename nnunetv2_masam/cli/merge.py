"""``nnUNetv2_masam merge``: a model folder whose checkpoints need no SAM file."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.slim import report
from nnunetv2_masam.sharing.requests import MergeRequest

REQUEST = MergeRequest
EPILOG = """\
  nnUNetv2_masam merge slim -o merged
  nnUNetv2_masam merge nnUNetTrainerMASAM__nnUNetPlans__3d_fullres -o folded --fold
"""


def run(args: argparse.Namespace) -> int:
    """Convert, and print what became of each checkpoint."""
    from nnunetv2_masam.sharing.model_folder import merge_folder

    return report(merge_folder(request_from(args, REQUEST)))
