"""``nnUNetv2_masam boxes images``: images for prediction with boxes from references or as drawn."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.arguments import add_output_folder, group
from nnunetv2_masam.cli.boxes import common

EPILOG = """\
Boxes that a person drew: a table (CSV: case,x0,y0,z0,x1,y1,z1) or 3D Slicer's CASE.mrk.json files; see docs/boxes.md.

  nnUNetv2_masam boxes images -i imagesTs -o inputs --from boxes.csv --coordinates ras
  nnUNetv2_masam boxes images -i imagesTs -o inputs_slicer --from markups
  nnUNetv2_predict -i inputs -o predictions -d 107 -c 3d_fullres -tr nnUNetTrainerMASAM_box

Boxes from references, 5 mm wider on every side, to see how much the box matters:

  nnUNetv2_masam boxes images -i imagesTs -o inputs_5mm --references labelsTs --label cancer --margin-mm 5
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``boxes images``."""
    parser.epilog = EPILOG
    given = group(parser, "input")
    given.add_argument(
        "-i", "--images", type=Path, required=True, metavar="DIR", help="Folder of images (CASE_0000.nii.gz)"
    )
    source = given.add_mutually_exclusive_group(required=True)
    source.add_argument("--references", type=Path, metavar="DIR", help="Reference masks to take boxes from")
    source.add_argument(
        "--from",
        dest="boxes",
        type=Path,
        metavar="PATH",
        help="Boxes that a person drew: .csv, .json, CASE.mrk.json, or a folder of CASE.mrk.json files",
    )
    given.add_argument(
        "--coordinates",
        choices=("voxel", "lps", "ras"),
        metavar="KIND",
        help="With --from and a table: what its numbers are: voxel, or millimetres in lps or ras",
    )
    common.add_dataset_json(parser, "images")
    add_output_folder(parser, "New folder to write, for nnUNetv2_predict -i")
    common.add_rule(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Write the folder, and print what became of each case."""
    from nnunetv2_masam.prompts import inputs

    if args.boxes is not None:
        if args.label or args.one_box or args.margin_mm or args.jitter_mm:
            raise ValueError(
                "--from: boxes are taken as drawn; --label, --one-box and margins are for boxes from references"
            )
        request = inputs.DrawnInputsRequest(args.images, args.boxes, args.output, args.coordinates)
        return common.report(inputs.write_inputs_drawn(request))
    if args.coordinates is not None:
        raise ValueError("--coordinates: is for boxes that a person drew, given with --from")
    if not args.label:
        raise ValueError("--label: name the labels whose references are boxed")
    return common.report(
        inputs.write_inputs_from_masks(
            inputs.MaskInputsRequest(args.images, args.references, args.output, common.rule_of(args), args.dataset_json)
        )
    )
