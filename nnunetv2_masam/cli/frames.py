"""``nnUNetv2_masam frames``: predictions of videos as one mask per frame."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.datasets.video_cases import FRAMES_FILE, read_frame_map
from nnunetv2_masam.datasets.video_classes import COLOURS, IDS
from nnunetv2_masam.datasets.video_masks import write_masks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``frames``."""
    parser.add_argument("-i", dest="predictions", type=Path, required=True, help="folder of nnU-Net's predictions")
    parser.add_argument("-o", dest="out", type=Path, required=True, help="new folder: SEQUENCE/FRAME.png")
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("-d", "--dataset", metavar="ID", help="data set that the cases belong to")
    origin.add_argument(
        "-m", "--frame-map", type=Path, metavar="FILE", help=f"its {FRAMES_FILE}, or the folder of `convert frames`"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--ids", dest="kind", action="store_const", const=IDS, help="write grey masks of ids")
    kind.add_argument(
        "--colours", dest="kind", action="store_const", const=COLOURS, help="write RGB masks (default: as converted)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the masks, and say how many."""
    frame_map = read_frame_map(args.frame_map or find_frame_map(args.dataset))
    for sequence, count in write_masks(args.out, args.predictions, frame_map, args.kind or frame_map.kind).items():
        print(f"{args.out / sequence}: {count} masks")
    return 0


def find_frame_map(dataset: str) -> Path:
    """``frames.json`` of a data set, by its number or name."""
    from nnunetv2.paths import nnUNet_raw

    from nnunetv2_masam.evaluation.results import dataset_name

    if not nnUNet_raw.is_set():
        raise ValueError("nnUNet_raw is not set; give the data set's frames.json with -m instead of -d")
    return Path(str(nnUNet_raw)) / dataset_name(dataset) / FRAMES_FILE
