"""``nnUNetv2_masam import-masam``: a file saved by the MA-SAM authors' code into a model folder of nnU-Net's."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.sharing.authors_model import TASKS, import_authors_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two weights files, the data set's description, the task, and what no file tells."""
    parser.add_argument("--adapt", type=Path, required=True, metavar="FILE", help="the authors' epoch_N.pth")
    parser.add_argument("--sam", type=Path, required=True, metavar="FILE", help="the SAM file it was trained from")
    parser.add_argument("--dataset-json", type=Path, required=True, metavar="FILE", help="nnU-Net's dataset.json")
    parser.add_argument("--task", choices=sorted(TASKS), required=True, help="whose preparation to follow")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="FOLDER", help="model folder to write")
    parser.add_argument(
        "--image-size", type=int, nargs=2, default=(512, 512), metavar="S", help="network input in pixels [512 512]"
    )
    parser.add_argument(
        "--in-plane", type=int, nargs=2, metavar="N", help="rows and columns of the images [the task's]"
    )
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar="I",
        help="intensities that become 0 and 1 [the task's]",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="FacT's scale in the authors' training [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Import, and print what differs from the authors' procedure."""
    print(
        import_authors_model(
            args.adapt,
            args.sam,
            args.dataset_json,
            args.task,
            args.out,
            image_size=args.image_size,
            in_plane=args.in_plane,
            window=args.window,
            scale=args.scale,
        )
    )
    return 0
