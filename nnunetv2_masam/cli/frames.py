"""``nnUNetv2_masam frames``: predictions of videos as one mask per frame."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.arguments import add_dataset, add_output_folder, group

EPILOG = """\
  nnUNetv2_masam frames -d 18 -i predictions -o masks
  nnUNetv2_masam frames -m inputs -i predictions -o masks_of_ids --ids
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``frames``."""
    parser.epilog = EPILOG
    given = group(parser, "input")
    given.add_argument(
        "-i", "--predictions", type=Path, required=True, metavar="DIR", help="Folder of nnU-Net's predictions"
    )
    origin = given.add_mutually_exclusive_group(required=True)
    add_dataset(origin, "Dataset that the cases belong to", required=False)
    origin.add_argument(
        "-m", "--frame-map", type=Path, metavar="PATH", help="Its frames.json, or the folder that convert frames wrote"
    )
    add_output_folder(parser, "New folder to write: SEQUENCE/FRAME.png")
    kind = group(parser, "output").add_mutually_exclusive_group()
    kind.add_argument("--ids", dest="kind", action="store_const", const="ids", help="Write grey masks of ids")
    kind.add_argument(
        "--colours",
        dest="kind",
        action="store_const",
        const="colours",
        help="Write RGB masks (default: what the dataset's masks were)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the masks, and print how many."""
    from nnunetv2_masam.video.masks import MasksRequest, frame_map_of, write_masks

    frame_map = args.frame_map or frame_map_of(args.dataset)
    for sequence, count in write_masks(MasksRequest(args.predictions, args.output, frame_map, args.kind)).items():
        print(f"{args.output / sequence}: {count} masks")
    return 0
