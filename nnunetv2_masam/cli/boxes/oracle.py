"""``nnUNetv2_masam boxes oracle``: images for prediction with boxes from reference masks."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.boxes.report import report
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.prompts.requests import MaskInputsRequest

REQUEST = MaskInputsRequest
EPILOG = """\
Such a box is made of the reference, so predictions with it show how much a box is worth. 5 mm wider on every side:

  nnUNetv2_masam boxes oracle -i imagesTs -o inputs_5mm --references labelsTs --label cancer --margin-mm 5
  nnUNetv2_predict -i inputs_5mm -o predictions_5mm -d 107 -c 3d_fullres -tr nnUNetTrainerMASAM_box
"""


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print what became of each case."""
    from nnunetv2_masam.prompts.inputs import write_inputs_from_masks

    return report(write_inputs_from_masks(request_from(args, REQUEST)))
