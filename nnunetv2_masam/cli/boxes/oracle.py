"""``nnUNetv2_masam boxes oracle``: images for prediction with boxes from reference masks."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.boxes import common

EPILOG = """\
Such a box is made of the reference, so predictions with it show how much a box is worth. 5 mm wider on every side:

  nnUNetv2_masam boxes oracle -i imagesTs -o inputs_5mm --references labelsTs --label cancer --margin-mm 5
  nnUNetv2_predict -i inputs_5mm -o predictions_5mm -d 107 -c 3d_fullres -tr nnUNetTrainerMASAM_box
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``boxes oracle``."""
    parser.epilog = EPILOG
    given = common.add_images(parser)
    given.add_argument("--references", type=Path, required=True, metavar="DIR", help="Folder of reference masks")
    common.add_dataset_json(parser, "images")
    common.add_rule(parser)


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print what became of each case."""
    from nnunetv2_masam.prompts.inputs import MaskInputsRequest, write_inputs_from_masks

    request = MaskInputsRequest(args.images, args.references, args.output, common.rule_of(args), args.dataset_json)
    return common.report(write_inputs_from_masks(request))
