"""``nnUNetv2_masam boxes drawn``: images for prediction with boxes that a person drew."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.boxes.report import report
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.prompts.requests import DrawnInputsRequest

REQUEST = DrawnInputsRequest
EPILOG = """\
Boxes are a table (CSV: case,x0,y0,z0,x1,y1,z1) or 3D Slicer's CASE.mrk.json files; see docs/boxes.md.

  nnUNetv2_masam boxes drawn -i imagesTs -o inputs --from boxes.csv --coordinates ras
  nnUNetv2_masam boxes drawn -i imagesTs -o inputs_slicer --from markups
  nnUNetv2_predict -i inputs -o predictions -d 107 -c 3d_fullres -tr nnUNetTrainerMASAM_box
"""


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print what became of each case."""
    from nnunetv2_masam.prompts.inputs import write_inputs_drawn

    return report(write_inputs_drawn(request_from(args, REQUEST)))
