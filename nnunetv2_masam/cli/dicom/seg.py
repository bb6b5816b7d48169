"""``nnUNetv2_masam dicom seg``: predictions to DICOM SEG."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.dicom.requests import SegRequest

REQUEST = SegRequest
EPILOG = """\
Names, codes and colours of segments are written to segments.csv beside the files; correct them there and give the table
with --segments.

  nnUNetv2_masam dicom seg predictions --source scanner -o segs
  nnUNetv2_masam dicom seg predictions --source scanner -o segs_2 --segments segs/segments.csv --form labelmap
"""


def run(args: argparse.Namespace) -> int:
    """Write the files, and print them and which segments have no public code."""
    from nnunetv2_masam.dicom.codes import PRIVATE_SCHEME
    from nnunetv2_masam.dicom.segments import TABLE, write_segs

    segments, files = write_segs(request_from(args, REQUEST))
    for name in files:
        print(args.output / name)
    if private := [segment.name for segment in segments if PRIVATE_SCHEME in segment.type.split(":")]:
        print(f"warning: private codes for {', '.join(private)}; write others into {args.output / TABLE}")
    return 0
