"""``nnUNetv2_masam convert frames``: new videos as inputs of ``nnUNetv2_predict``."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.convert.video import report_sizes
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.video.requests import FramesRequest

REQUEST = FramesRequest
EPILOG = """\
SRC is one sequence (a folder of PNG or JPEG files), or a folder of sequences (SEQUENCE/*.png, SEQUENCE/frames/*.png
or SEQUENCE/images/*.png).

  nnUNetv2_masam convert frames Video -o inputs -d 18
  nnUNetv2_predict -i inputs -o predictions -d 18 -c 3d_fullres -f all -tr nnUNetTrainerMASAM
  nnUNetv2_masam frames -i predictions -m inputs -o masks
"""


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was written."""
    from nnunetv2_masam.video.convert import convert_frames

    converted = convert_frames(request_from(args, REQUEST))
    for note in converted.notes:
        print(note)
    for sequence in converted.sequences:
        print(f"{sequence.name}: {len(sequence.frames)} frames")
    report_sizes(converted)
    print(f"written: {converted.folder} ({len(converted.frame_map.cases)} cases)")
    return 0
