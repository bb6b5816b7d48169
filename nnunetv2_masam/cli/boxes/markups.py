"""``nnUNetv2_masam boxes markups``: the boxes around references, for 3D Slicer."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.boxes.report import report
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.prompts.requests import MarkupsRequest

REQUEST = MarkupsRequest
EPILOG = """\
Open the image and its CASE.mrk.json in 3D Slicer, correct the boxes, save, and give the folder to boxes drawn --from.

  nnUNetv2_masam boxes markups --references labelsTs --label cancer -o markups
  nnUNetv2_masam boxes drawn -i imagesTs -o inputs --from markups
"""


def run(args: argparse.Namespace) -> int:
    """Write the files, and print what became of each case."""
    from nnunetv2_masam.prompts.inputs import write_reference_markups

    return report(write_reference_markups(request_from(args, REQUEST)))
