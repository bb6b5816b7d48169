"""``nnUNetv2_masam boxes dataset``: a dataset with boxes around the reference of a label."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.boxes.report import report
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.prompts.requests import BoxDatasetRequest

REQUEST = BoxDatasetRequest
EPILOG = """\
  nnUNetv2_masam boxes dataset -d 7 -o Dataset107_PancreasBoxes --label cancer
  nnUNetv2_plan_and_preprocess -d 107
  nnUNetv2_train 107 3d_fullres 0 -tr nnUNetTrainerMASAM_box
"""


def run(args: argparse.Namespace) -> int:
    """Write the dataset, and print what became of each case."""
    from nnunetv2_masam.prompts.box_dataset import write_box_dataset

    return report(write_box_dataset(request_from(args, REQUEST)))
