"""``nnUNetv2_masam boxes drawn``: images for prediction with boxes that a person drew."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.boxes import common

EPILOG = """\
Boxes are a table (CSV: case,x0,y0,z0,x1,y1,z1) or 3D Slicer's CASE.mrk.json files; see docs/boxes.md.

  nnUNetv2_masam boxes drawn -i imagesTs -o inputs --from boxes.csv --coordinates ras
  nnUNetv2_masam boxes drawn -i imagesTs -o inputs_slicer --from markups
  nnUNetv2_predict -i inputs -o predictions -d 107 -c 3d_fullres -tr nnUNetTrainerMASAM_box
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``boxes drawn``."""
    parser.epilog = EPILOG
    given = common.add_images(parser)
    given.add_argument(
        "--from",
        dest="boxes",
        type=Path,
        required=True,
        metavar="PATH",
        help="Boxes that a person drew: .csv, .json, CASE.mrk.json, or a folder of CASE.mrk.json files",
    )
    given.add_argument(
        "--coordinates",
        choices=("voxel", "lps", "ras"),
        metavar="KIND",
        help="For tables: what the numbers are: voxel, or millimetres in lps or ras",
    )


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print what became of each case."""
    from nnunetv2_masam.prompts.inputs import DrawnInputsRequest, write_inputs_drawn

    return common.report(write_inputs_drawn(DrawnInputsRequest(args.images, args.boxes, args.output, args.coordinates)))
