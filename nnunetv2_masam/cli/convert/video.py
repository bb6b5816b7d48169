"""``nnUNetv2_masam convert video``: a folder of frames and masks as an nnU-Net dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_masam.cli.arguments import add_new_dataset, group, positive_int

if TYPE_CHECKING:
    from nnunetv2_masam.video.convert import ConvertedVideos
    from nnunetv2_masam.video.frame_map import Scaling

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

  nnUNetv2_masam convert video Surgery -d 19 --longest-side 640 --test s1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert video``."""
    parser.epilog = EPILOG
    add_dataset_arguments(parser)
    group(parser, "output").add_argument("--name", metavar="NAME", help="Name of the dataset (default: the folder's)")
    group(parser, "input").add_argument(
        "--test",
        nargs="+",
        default=[],
        metavar="SEQUENCE",
        help="Sequences to keep out of training: imagesTs, labelsTs (default: those without masks)",
    )


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """What all converters of videos with masks take."""
    add_source(parser, "Folder, laid out as below")
    group(parser, "input").add_argument(
        "--unlisted-as-background",
        action="store_true",
        help="Take mask values that no class has as background; without this they are an error",
    )
    add_new_dataset(parser)
    add_case_arguments(parser)


def add_source(parser: argparse.ArgumentParser, help: str) -> None:
    """``SRC``."""
    group(parser, "input").add_argument("source", type=Path, metavar="SRC", help=help)


def add_case_arguments(parser: argparse.ArgumentParser, default: str = "512") -> None:
    """Length and size of the cases."""
    cases = group(parser, "cases")
    size = cases.add_mutually_exclusive_group()
    size.add_argument(
        "--size",
        type=positive_int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="Scale all frames and masks to this size; MA-SAM's authors train on 512 512",
    )
    size.add_argument(
        "--longest-side",
        type=positive_int,
        metavar="PIXELS",
        help=f"Reduce larger frames to this along their longest side, with their proportions (default: {default})",
    )
    size.add_argument("--original-size", action="store_true", help="Keep the size of the frames")
    cases.add_argument(
        "--max-frames",
        type=positive_int,
        default=50,
        metavar="N",
        help="Most frames of a case; bounds nnU-Net's memory (default: %(default)s)",
    )


def scaling_of(args: argparse.Namespace) -> Scaling | None:
    """What the options say of the cases' size; None where they say nothing."""
    from nnunetv2_masam.video.frame_map import Scaling

    if args.original_size:
        return Scaling()
    if args.size is not None:
        return Scaling(size=(args.size[0], args.size[1]))
    return None if args.longest_side is None else Scaling(longest_side=args.longest_side)


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was written."""
    from nnunetv2_masam.video.convert import VideoRequest, convert_video

    return report(convert_video(VideoRequest(**dataset_fields(args), name=args.name, test=tuple(args.test))))


def dataset_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of :func:`add_dataset_arguments` as fields of a request."""
    from nnunetv2_masam.video.convert import DEFAULT_SCALING

    return {
        "source": args.source,
        "dataset_id": args.dataset_id,
        "max_frames": args.max_frames,
        "scaling": scaling_of(args) or DEFAULT_SCALING,
        "unlisted_as_background": args.unlisted_as_background,
    }


def report_sizes(converted: ConvertedVideos) -> None:
    """Print how frames were scaled, what vanished by it, and how to keep their size."""
    scaled = {before: after for before, after in converted.sizes().items() if before != after}
    for before, after in scaled.items():
        print(f"frames of {before[0]} x {before[1]} pixels are scaled to {after[0]} x {after[1]}")
    if not scaled:
        return
    print(
        "--original-size keeps the size of the frames: augmentation and memory then grow with their pixels, while the "
        "network sees 512 along the longest side either way; --size 512 512 is what MA-SAM's authors train on"
    )
    for name, count in converted.vanished.items():
        print(f"{name}: in {count} frames too small for the reduced masks, which do not have it")
    if any(sequence.masks for sequence in converted.sequences):
        print(
            "masks in the size of the frames are in labelsTr_original and labelsTs_original; video-scores "
            "--original-size scores there"
        )


def report(converted: ConvertedVideos) -> int:
    """Print a summary of a new dataset."""
    from nnunetv2_masam.nnunet_files import split_dataset_name

    for note in converted.notes:
        print(note)
    for sequence in converted.sequences:
        cases = [case for case, entry in converted.frame_map.cases.items() if entry.sequence == sequence.name]
        part = "test" if sequence.test else "training"
        note = "" if sequence.masks else ", no masks"
        print(f"{sequence.name}: {len(sequence.frames)} frames in {len(cases)} cases, {part}{note}")
    report_sizes(converted)
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
    number, _ = split_dataset_name(converted.folder.name, "-d")
    print(f"written: {converted.folder}")
    print(f"next: nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity")
    return 0
