"""``nnUNetv2_masam convert video``: a folder of frames and masks as an nnU-Net dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_masam.cli.arguments import positive_int

if TYPE_CHECKING:
    from nnunetv2_masam.video.convert import ConvertedVideos

EPILOG = """\
expected layout:

SRC/
  labels.json              optional: {name: id}, {name: [r, g, b]}, or a list of {"name", "classid", "color"}
  SEQUENCE/
    frames/ or images/     one PNG or JPEG per frame, in the order of the numbers in their names
    masks/ or labels/      one PNG per frame, of the same name: grey (ids) or RGB (colours)

Sequences without masks become imagesTs. Without labels.json the masks hold ids, and 0 is background. A class called
"ignore" marks pixels that do not count. Each sequence is cut into cases of at most --max-frames frames; folds keep the
cases of a sequence together. frames.json in the new dataset leads back: nnUNetv2_masam frames.

  nnUNetv2_masam convert video Surgery -d 19 --size 512 640 --test s1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert video``."""
    parser.epilog = EPILOG
    add_dataset_arguments(parser)
    parser.add_argument("--name", metavar="NAME", help="Name of the dataset (default: the folder's)")
    parser.add_argument(
        "--test",
        nargs="+",
        default=[],
        metavar="SEQUENCE",
        help="Sequences to keep out of training: imagesTs, labelsTs (default: those without masks)",
    )


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """What all converters of videos with masks take."""
    parser.add_argument("source", type=Path, metavar="SRC", help="Folder, laid out as below")
    parser.add_argument(
        "-d", "--dataset-id", type=positive_int, required=True, metavar="ID", help="Free number for the new dataset"
    )
    add_case_arguments(parser)
    parser.add_argument(
        "--unlisted-as-background",
        action="store_true",
        help="Take mask values that no class has as background; without this they are an error",
    )


def add_case_arguments(parser: argparse.ArgumentParser) -> None:
    """Length and size of the cases."""
    group = parser.add_argument_group("cases")
    group.add_argument(
        "--size",
        type=positive_int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="Scale all frames and masks to this size (default: as they are)",
    )
    group.add_argument(
        "--max-frames",
        type=positive_int,
        default=50,
        metavar="N",
        help="Most frames of a case; bounds nnU-Net's memory (default: %(default)s)",
    )


def size_of(args: argparse.Namespace) -> tuple[int, int] | None:
    """``--size`` as a pair."""
    return None if args.size is None else (args.size[0], args.size[1])


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was written."""
    from nnunetv2_masam.video.convert import VideoRequest, convert_video

    return report(convert_video(VideoRequest(**dataset_fields(args), name=args.name, test=tuple(args.test))))


def dataset_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of :func:`add_dataset_arguments` as fields of a request."""
    return {
        "source": args.source,
        "dataset_id": args.dataset_id,
        "max_frames": args.max_frames,
        "size": size_of(args),
        "unlisted_as_background": args.unlisted_as_background,
    }


def report(converted: ConvertedVideos) -> int:
    """Print a summary of a new dataset."""
    for note in converted.notes:
        print(note)
    for sequence in converted.sequences:
        cases = [case for case, entry in converted.frame_map.cases.items() if entry.sequence == sequence.name]
        part = "test" if sequence.test else "training"
        note = "" if sequence.masks else ", no masks"
        print(f"{sequence.name}: {len(sequence.frames)} frames in {len(cases)} cases, {part}{note}")
    if converted.unlisted_pixels:
        print(f"{converted.unlisted_pixels} pixels had values that no class has and were taken as background")
    if sum(not sequence.test for sequence in converted.sequences) < 2:
        print("only one sequence to train on: use fold 'all', since other folds would mix its frames")
    channels_gb, logits_gb = converted.largest_case_gb()
    print(
        f"memory of the largest case in nnU-Net: {channels_gb:.1f} GB for its float32 channels, up to ten times that "
        f"in each preprocessing worker (-np); {logits_gb:.1f} GB for its logits in prediction. Take fewer workers or a "
        "smaller --max-frames where this is too much"
    )
    print(f"written: {converted.folder}")
    print(f"next: nnUNetv2_plan_and_preprocess -d {int(converted.folder.name[7:10])} --verify_dataset_integrity")
    return 0
