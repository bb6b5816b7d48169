"""``nnUNetv2_masam dicom import``: DICOM series to nnU-Net's images."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.dicom.requests import ImportRequest

REQUEST = ImportRequest
EPILOG = """\
  nnUNetv2_masam dicom import scanner -o images
  nnUNetv2_masam dicom import scanner -o images_2 --columns SeriesInstanceUID PatientID StudyDate
"""


def run(args: argparse.Namespace) -> int:
    """Write the images, and print what became of each series."""
    from nnunetv2_masam.dicom.importing import TABLE, import_folder, outcome

    for name, stack in import_folder(request_from(args, REQUEST)):
        print(f"{name or stack.series.uid}{stack.part and f' ({stack.part})'}: {outcome(stack)}")
    print(f"{args.output / TABLE}: which file is which series")
    return 0
