"""``nnUNetv2_masam import-masam``: a file saved by the MA-SAM authors' code into a model folder of nnU-Net's."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.sharing.authors_model import TASKS, import_authors_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two weights files, the dataset's description, the task, and what no file tells."""
    parser.add_argument("--adapt", type=Path, required=True, metavar="FILE", help="The authors' epoch_N.pth")
    parser.add_argument("--sam", type=Path, required=True, metavar="FILE", help="SAM file that it was trained from")
    parser.add_argument("--dataset-json", type=Path, required=True, metavar="FILE", help="nnU-Net's dataset.json")
    parser.add_argument("--task", choices=sorted(TASKS), required=True, help="Dataset whose preparation to follow")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="FOLDER", help="New model folder to write")
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=(512, 512),
        metavar="S",
        help="Network input in pixels (default: 512 512)",
    )
    parser.add_argument(
        "--in-plane", type=int, nargs=2, metavar="N", help="Rows and columns of the images (default: those of the task)"
    )
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        metavar="I",
        help="Intensities that become 0 and 1 (default: those of the task)",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="FacT scale of the training (default: %(default)s)")


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
