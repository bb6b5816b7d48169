"""``nnUNetv2_masam convert frames``: new videos as input of ``nnUNetv2_predict``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.convert.video import add_case_arguments, case_size
from nnunetv2_masam.cli.frames import find_frame_map
from nnunetv2_masam.datasets.video import find_frames
from nnunetv2_masam.datasets.video_cases import CaseFrames, FrameMap, new_folder, read_frame_map, write_images
from nnunetv2_masam.datasets.video_classes import IDS

EPILOG = """\
SRC is one sequence (a folder of PNG or JPEG files), or a folder of sequences (SEQUENCE/*.png, SEQUENCE/frames/*.png
or SEQUENCE/images/*.png).

  nnUNetv2_masam convert frames SRC -o INPUT -d 18
  nnUNetv2_predict -i INPUT -o PREDICTED -d 18 -c 3d_fullres -f all -tr nnUNetTrainerMASAM
  nnUNetv2_masam frames -i PREDICTED -m INPUT -o MASKS
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert frames``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("source", type=Path, metavar="SRC", help="folder of frames")
    parser.add_argument("-o", dest="out", type=Path, required=True, metavar="INPUT", help="new folder to write")
    parser.add_argument(
        "-d",
        "--dataset",
        metavar="ID",
        help="data set of the model: its classes give the masks their ids and colours (default: nnU-Net's labels)",
    )
    add_case_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was written."""
    model = FrameMap((), IDS) if args.dataset is None else read_frame_map(find_frame_map(args.dataset))
    sequences = find_frames(args.source)
    with new_folder(args.out) as folder:
        cases: dict[str, CaseFrames] = {}
        for sequence in sequences:
            cases.update(write_images(folder, sequence, args.max_frames, case_size(args)))
        FrameMap(model.classes, model.kind, cases).write(folder)
    for sequence in sequences:
        print(f"{sequence.name}: {len(sequence.frames)} frames")
    print(f"written: {args.out} ({len(cases)} cases)")
    return 0
