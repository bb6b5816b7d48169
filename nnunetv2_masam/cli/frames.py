"""``nnUNetv2_masam frames``: predictions of videos as one mask per frame."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.video.requests import MasksRequest

REQUEST = MasksRequest
EPILOG = """\
  nnUNetv2_masam frames -d 18 -i predictions -o masks
  nnUNetv2_masam frames -m inputs -i predictions -o masks_of_ids --ids
"""


def run(args: argparse.Namespace) -> int:
    """Write the masks, and print how many."""
    from nnunetv2_masam.video.masks import write_masks

    for sequence, count in write_masks(request_from(args, REQUEST)).items():
        print(f"{args.output / sequence}: {count} masks")
    return 0
