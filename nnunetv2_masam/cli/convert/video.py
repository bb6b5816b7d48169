"""``nnUNetv2_masam convert video``: a folder of frames and masks as an nnU-Net data set."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunetv2_masam.datasets.video import LAYOUT, VideoSequence, find_classes, find_sequences
from nnunetv2_masam.datasets.video_cases import DEFAULT_MAX_FRAMES, FrameMap, write_dataset
from nnunetv2_masam.datasets.video_classes import MaskReader, VideoClass

EPILOG = f"""\
expected layout:

{LAYOUT}
Sequences without masks become imagesTs. Without labels.json the masks hold ids, and 0 is background. A class called
"ignore" marks pixels that do not count. Each sequence is cut into cases of at most --max-frames frames; folds keep the
cases of a sequence together. frames.json in the new data set leads back: nnUNetv2_masam frames.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert video``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_dataset_arguments(parser)
    parser.add_argument("--name", help="of the data set (default: the folder's)")
    parser.add_argument(
        "--test", nargs="+", default=[], metavar="SEQUENCE", help="keep these out of training: imagesTs, labelsTs"
    )


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """What all converters of videos ask for."""
    parser.add_argument("source", type=Path, metavar="SRC", help="folder, laid out as below")
    parser.add_argument("-d", "--dataset-id", type=int, required=True, metavar="ID", help="a free number, 1 to 999")
    add_case_arguments(parser)
    parser.add_argument(
        "--unlisted-as-background",
        action="store_true",
        help="take mask values that no class has as background; without this they are an error",
    )


def add_case_arguments(parser: argparse.ArgumentParser) -> None:
    """Length and size of the cases."""
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="scale all frames and masks to this size (default: as they are)",
    )
    parser.add_argument(
        "--max-frames",
        type=int,
        default=DEFAULT_MAX_FRAMES,
        metavar="N",
        help=f"most frames of a case; bounds nnU-Net's memory (default {DEFAULT_MAX_FRAMES})",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was written."""
    sequences = find_sequences(args.source, args.test)
    return convert(args, args.name or args.source.resolve().name, sequences, find_classes(args.source, sequences))


def convert(
    args: argparse.Namespace, name: str, sequences: Sequence[VideoSequence], classes: Sequence[VideoClass], **about: Any
) -> int:
    """Write the data set and a summary of it."""
    target = new_dataset_folder(args.dataset_id, name)
    reader = MaskReader(classes, unlisted_as_background=args.unlisted_as_background)
    frame_map = write_dataset(target, sequences, reader, max_frames=args.max_frames, size=case_size(args), about=about)
    for sequence in sequences:
        cases = [case for case, entry in frame_map.cases.items() if entry.sequence == sequence.name]
        part = "test" if sequence.test else "training"
        note = "" if sequence.masks else ", no masks"
        print(f"{sequence.name}: {len(sequence.frames)} frames in {len(cases)} cases, {part}{note}")
    if reader.unlisted_pixels:
        print(f"{reader.unlisted_pixels} pixels had values that no class has and were taken as background")
    if sum(not s.test for s in sequences) < 2:
        print("only one sequence to train on: use fold 'all', since other folds would mix its frames")
    print_memory(frame_map, case_size(args))
    print(f"written: {target}\nnext: nnUNetv2_plan_and_preprocess -d {args.dataset_id} --verify_dataset_integrity")
    return 0


def case_size(args: argparse.Namespace) -> tuple[int, int] | None:
    """``--size``, checked.

    Raises:
        ValueError: not two positive numbers.
    """
    if args.size is None:
        return None
    height, width = args.size
    if min(height, width) < 1:
        raise ValueError(f"--size {height} {width}: expected positive numbers of pixels")
    return height, width


def print_memory(frame_map: FrameMap, size: tuple[int, int] | None) -> None:
    """What the largest case takes in nnU-Net, by arithmetic."""
    largest = max(len(entry.frames) * math.prod(size or entry.size) for entry in frame_map.cases.values())
    channels_gb, logits_gb = 12 * largest / 1e9, 2 * len(frame_map.classes) * largest / 1e9
    print(
        f"memory of the largest case in nnU-Net: {channels_gb:.1f} GB for its float32 channels, up to ten times that "
        f"in each preprocessing worker (-np); {logits_gb:.1f} GB for its logits in prediction. Take fewer workers or a "
        "smaller --max-frames where this is too much"
    )


def new_dataset_folder(dataset_id: int, name: str) -> Path:
    """Where a new data set goes.

    Raises:
        ValueError: ``nnUNet_raw`` is not set, or the number is not free.
    """
    from nnunetv2.paths import nnUNet_raw
    from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

    if not nnUNet_raw.is_set():
        raise ValueError("nnUNet_raw is not set; export it as the folder of nnU-Net's raw data sets")
    if not 1 <= dataset_id <= 999:
        raise ValueError(f"-d {dataset_id}: expected a number from 1 to 999")
    if taken := [str(found) for found in find_candidate_datasets(dataset_id)]:
        raise ValueError(f"-d {dataset_id}: taken by {', '.join(taken)}; choose a free number")
    return Path(str(nnUNet_raw)) / f"Dataset{dataset_id:03d}_{name}"
