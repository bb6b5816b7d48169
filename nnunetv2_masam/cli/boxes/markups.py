"""``nnUNetv2_masam boxes markups``: the boxes around references, for 3D Slicer."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.arguments import add_output_folder, group
from nnunetv2_masam.cli.boxes import common

EPILOG = """\
Open the image and its CASE.mrk.json in 3D Slicer, correct the boxes, save, and give the folder to boxes drawn --from.

  nnUNetv2_masam boxes markups --references labelsTs --label cancer -o markups
  nnUNetv2_masam boxes drawn -i imagesTs -o inputs --from markups
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``boxes markups``."""
    parser.epilog = EPILOG
    add = group(parser, "input").add_argument
    add("--references", type=Path, required=True, metavar="DIR", help="Folder of reference masks")
    common.add_dataset_json(parser, "references")
    add_output_folder(parser, "New folder to write CASE.mrk.json files to")
    common.add_rule(parser)


def run(args: argparse.Namespace) -> int:
    """Write the files, and print what became of each case."""
    from nnunetv2_masam.prompts.inputs import MarkupsRequest, write_reference_markups

    request = MarkupsRequest(args.references, args.output, common.rule_of(args), args.dataset_json)
    return common.report(write_reference_markups(request))
