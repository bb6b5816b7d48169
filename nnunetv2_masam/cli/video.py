"""Commands on videos: ``convert endovis18``, ``convert video``, ``convert frames``, ``frames`` and ``video-scores``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.arguments import add_output_folder, group
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.video.requests import FramesRequest, MasksRequest, ScoresRequest, VideoRequest

if TYPE_CHECKING:
    from nnunetv2_masam.video.convert import ConvertedVideos


def endovis18(args: argparse.Namespace) -> int:
    """Convert, and print what was left out and written."""
    from nnunetv2_masam.video.convert import convert_endovis18

    return _report_dataset(convert_endovis18(request_from(args, VideoRequest)))


def videos(args: argparse.Namespace) -> int:
    """Convert, and print what was written."""
    from nnunetv2_masam.video.convert import convert_video

    return _report_dataset(convert_video(request_from(args, VideoRequest)))


def new_videos(args: argparse.Namespace) -> int:
    """Convert, and print what was written."""
    from nnunetv2_masam.video.convert import convert_frames

    converted = convert_frames(request_from(args, FramesRequest))
    for note in converted.notes:
        print(note)
    for sequence in converted.sequences:
        print(f"{sequence.name}: {len(sequence.frames)} frames")
    _report_sizes(converted)
    print(f"written: {converted.folder} ({len(converted.frame_map.cases)} cases)")
    return 0


def frames(args: argparse.Namespace) -> int:
    """Write the masks, and print how many."""
    from nnunetv2_masam.video.masks import write_masks

    for sequence, count in write_masks(request_from(args, MasksRequest)).items():
        print(f"{args.output / sequence}: {count} masks")
    return 0


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where scores are written, which scoring does not depend on."""
    add_output_folder(parser, "Folder for scores.json and scores.md (default: print only)", required=False)
    add = group(parser, "output").add_argument
    add("--overwrite", action="store_true", help="Replace other scores in the output folder")


def scores(args: argparse.Namespace) -> int:
    """Score, print the tables, write both files."""
    from nnunetv2_masam.video.score_folders import score_predictions

    found = score_predictions(request_from(args, ScoresRequest))
    print(found.tables, end="")
    if args.output:
        found.write(args.output, args.overwrite)
    return 0


def _report_sizes(converted: ConvertedVideos) -> None:
    """Print how frames were scaled, and how to keep their size."""
    scaled = {before: after for before, after in converted.sizes().items() if before != after}
    for before, after in scaled.items():
        print(f"frames of {before[0]} x {before[1]} pixels are scaled to {after[0]} x {after[1]}")
    if scaled:
        print(
            "--original-size keeps the size of the frames: augmentation and memory then grow with their pixels, while "
            "the network sees 512 along the longest side either way; --size 512 512 is what MA-SAM's authors train on"
        )


def _report_dataset(converted: ConvertedVideos) -> int:
    from nnunetv2_masam.nnunet_files import split_dataset_name

    for note in converted.notes:
        print(note)
    for sequence in converted.sequences:
        cases = [case for case, entry in converted.frame_map.cases.items() if entry.sequence == sequence.name]
        part = "test" if sequence.test else "training"
        note = "" if sequence.masks else ", no masks"
        print(f"{sequence.name}: {len(sequence.frames)} frames in {len(cases)} cases, {part}{note}")
    _report_sizes(converted)
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


CONVERT = {
    "endovis18": Command(
        "Convert EndoVis 2018, robotic scene segmentation, time as the slice axis",
        endovis18,
        VideoRequest,
        """\
expected layout, as the challenge published it:

SRC/…/seq_N/                 any folders between, such as miccai_challenge_2018_release_1/
  left_frames/frame000.png
  labels/frame000.png        RGB, the challenge's colours; none where labels are not released
SRC/test_data/…/seq_N/       the released test sequences: below any folder whose name begins with "test"
SRC/repairs/…/seq_N_frame042.png   optional: corrected labels of training sequences

Training sequences become imagesTr and labelsTr with folds by sequence, the released test sequences imagesTs and
labelsTs. Labels of any size will do, as long as a sequence's frames and labels have one. Frames without a label are
left out, as in the MA-SAM authors' preparation, whose test set are the four released test sequences.

  nnUNetv2_masam convert endovis18 EndoVis2018 -d 18
""",
        leave_out=("name", "test"),  # the challenge has both
    ),
    "video": Command(
        "Convert a folder of video frames and masks, time as the slice axis",
        videos,
        VideoRequest,
        """\
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
""",
    ),
    "frames": Command(
        "Convert frames of new videos to inputs of nnUNetv2_predict",
        new_videos,
        FramesRequest,
        """\
SRC is one sequence (a folder of PNG or JPEG files), or a folder of sequences (SEQUENCE/*.png, SEQUENCE/frames/*.png
or SEQUENCE/images/*.png).

  nnUNetv2_masam convert frames Video -o inputs -d 18
  nnUNetv2_predict -i inputs -o predictions -d 18 -c 3d_fullres -f all -tr nnUNetTrainerMASAM
  nnUNetv2_masam frames -i predictions -m inputs -o masks
""",
    ),
}

FRAMES = Command(
    "Write predictions of videos as one mask per frame",
    frames,
    MasksRequest,
    """\
  nnUNetv2_masam frames -d 18 -i predictions -o masks
  nnUNetv2_masam frames -m inputs -i predictions -o masks_of_ids --ids
""",
)

SCORES = Command(
    "Score predictions of videos by IoU and Dice, frame by frame",
    scores,
    ScoresRequest,
    """\
  nnUNetv2_masam video-scores -d 18 -i predictions -o scores
  nnUNetv2_masam video-scores -d 18 -i fold_0/validation fold_1/validation -o scores_of_two_folds

Writes scores.json and scores.md: mIoU and Dice over all frames, for each sequence and for each class, in the variants
of docs/video.md. "challenge" is the rule of EndoVis: for each frame, the classes that its reference holds.
""",
    add_arguments=add_score_arguments,
)
