"""``nnUNetv2_masam boxes dataset``: a dataset with boxes around the reference of a label."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.arguments import add_dataset, group
from nnunetv2_masam.cli.boxes import common

EPILOG = """\
  nnUNetv2_masam boxes dataset -d 7 -o Dataset107_PancreasBoxes --label cancer
  nnUNetv2_plan_and_preprocess -d 107
  nnUNetv2_train 107 3d_fullres 0 -tr nnUNetTrainerMASAM_box
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``boxes dataset``."""
    parser.epilog = EPILOG
    add_dataset(parser, "Number or name of the dataset to write anew with boxes")
    add = group(parser, "output").add_argument
    add("-o", "--output", required=True, metavar="NAME", help="DatasetXXX_Name of the new dataset")
    common.add_rule(parser)


def run(args: argparse.Namespace) -> int:
    """Write the dataset, and print what became of each case."""
    from nnunetv2_masam.prompts.box_dataset import BoxDatasetRequest, write_box_dataset

    return common.report(write_box_dataset(BoxDatasetRequest(args.dataset, args.output, common.rule_of(args))))
