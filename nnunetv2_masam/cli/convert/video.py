"""``nnUNetv2_masam convert video``: a folder of frames and masks as an nnU-Net dataset."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.video.requests import VideoRequest

if TYPE_CHECKING:
    from nnunetv2_masam.video.convert import ConvertedVideos

REQUEST = VideoRequest
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


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was written."""
    from nnunetv2_masam.video.convert import convert_video

    return report(convert_video(request_from(args, REQUEST)))


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
