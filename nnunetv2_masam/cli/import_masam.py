"""``nnUNetv2_masam import-masam``: a file saved by the MA-SAM authors' code into a model folder of nnU-Net's."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.arguments import add_output_folder, group, positive_int, positive_number

TASKS = ("btcv", "generic", "prostate")  # spelled out so that --help needs no import
EPILOG = """\
  nnUNetv2_masam import-masam --adapt epoch_299.pth --sam sam_vit_h_4b8939.pth --task btcv --dataset-json dataset.json \
-o nnUNetTrainerMASAM_paper__nnUNetMASAMImportPlans__3d_fullres
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two weights files, the dataset's description, the task, and settings that no file holds."""
    parser.epilog = EPILOG
    add = group(parser, "input").add_argument
    add("--adapt", type=Path, required=True, metavar="FILE", help="The authors' epoch_N.pth")
    add("--sam", type=Path, required=True, metavar="FILE", help="SAM file that it was trained from")
    add("--dataset-json", type=Path, required=True, metavar="FILE", help="dataset.json of the nnU-Net dataset")
    add(
        "--task",
        choices=TASKS,
        required=True,
        metavar="TASK",
        help=f"Dataset whose preparation to follow: {', '.join(TASKS)}",
    )
    add_output_folder(parser, "New model folder to write")
    add = group(parser, "the authors' settings").add_argument
    add(
        "--image-size",
        type=positive_int,
        nargs=2,
        default=(512, 512),
        metavar="S",
        help="Network input in pixels (default: 512 512)",
    )
    add(
        "--in-plane",
        type=positive_int,
        nargs=2,
        metavar="N",
        help="Rows and columns of the images (default: those of the task)",
    )
    add(
        "--window",
        type=float,
        nargs=2,
        metavar="I",
        help="Intensities that become 0 and 1 (default: those of the task)",
    )
    add(
        "--scale",
        type=positive_number,
        default=1.0,
        metavar="S",
        help="FacT scale of the training (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Import, and print what differs from the authors' procedure."""
    from nnunetv2_masam.sharing.authors_model import ImportRequest, import_authors_model

    request = ImportRequest(
        args.adapt,
        args.sam,
        args.dataset_json,
        args.task,
        args.output,
        image_size=tuple(args.image_size),
        in_plane=None if args.in_plane is None else tuple(args.in_plane),
        window=None if args.window is None else tuple(args.window),
        scale=args.scale,
    )
    print(import_authors_model(request).readme)
    return 0
