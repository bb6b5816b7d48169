"""``nnUNetv2_masam convert endovis18``: the challenge's sequences as an nnU-Net dataset."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.convert.video import report
from nnunetv2_masam.cli.options import add_options, request_from
from nnunetv2_masam.video.requests import VideoRequest

EPILOG = """\
expected layout, as the challenge published it:

SRC/…/seq_N/                 any folders between, such as miccai_challenge_2018_release_1/
  left_frames/frame000.png
  labels/frame000.png        RGB, the challenge's colours; none where labels are not released
SRC/test_data/…/seq_N/       the released test sequences: below any folder whose name begins with "test"
SRC/repairs/…/seq_N_frame042.png   optional: corrected labels of training sequences

Training sequences become imagesTr and labelsTr with folds by sequence, the released test sequences imagesTs and
labelsTs. Labels of any size will do, as long as a sequence's frames and labels have one. Frames without a label are
left out, as in the MA-SAM authors' preparation, whose test set are the four released test sequences.

  nnUNetv2_masam convert endovis18 EndoVis2018 -d 18
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; the challenge has a name and test sequences already."""
    add_options(parser, VideoRequest, leave_out=("name", "test"))


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was left out and written."""
    from nnunetv2_masam.video.convert import convert_endovis18

    return report(convert_endovis18(request_from(args, VideoRequest)))
