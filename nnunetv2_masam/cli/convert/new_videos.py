"""``nnUNetv2_masam convert frames``: new videos as inputs of ``nnUNetv2_predict``."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.arguments import add_dataset, add_output_folder
from nnunetv2_masam.cli.convert import video

EPILOG = """\
SRC is one sequence (a folder of PNG or JPEG files), or a folder of sequences (SEQUENCE/*.png, SEQUENCE/frames/*.png
or SEQUENCE/images/*.png).

  nnUNetv2_masam convert frames Video -o inputs -d 18
  nnUNetv2_predict -i inputs -o predictions -d 18 -c 3d_fullres -f all -tr nnUNetTrainerMASAM
  nnUNetv2_masam frames -i predictions -m inputs -o masks
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert frames``."""
    parser.epilog = EPILOG
    video.add_source(parser, "Folder of frames")
    add_dataset(
        parser,
        "Dataset of the model: its classes give the masks their ids and colours (default: nnU-Net's labels)",
        required=False,
    )
    add_output_folder(parser, "New folder to write")
    video.add_case_arguments(parser, default="as the dataset's, else 512")


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was written."""
    from nnunetv2_masam.video.convert import FramesRequest, convert_frames

    converted = convert_frames(
        FramesRequest(args.source, args.output, args.dataset, args.max_frames, video.scaling_of(args))
    )
    for note in converted.notes:
        print(note)
    for sequence in converted.sequences:
        print(f"{sequence.name}: {len(sequence.frames)} frames")
    video.report_sizes(converted)
    print(f"written: {converted.folder} ({len(converted.frame_map.cases)} cases)")
    return 0
