"""``nnUNetv2_masam dicom labels``: DICOM SEG to label images."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.dicom.requests import LabelsRequest

REQUEST = LabelsRequest
EPILOG = """\
  nnUNetv2_masam dicom labels segs -o labels --source scanner
"""


def run(args: argparse.Namespace) -> int:
    """Write the label images, and print their segments."""
    from nnunetv2_masam.dicom.labels import write_labels

    for name, segments in write_labels(request_from(args, REQUEST)).items():
        print(f"{args.output / name}: " + ", ".join(f"{number} {label}" for number, label in segments.items()))
    return 0
