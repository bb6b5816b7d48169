"""Sequences of frames to nnU-Net's cases, with time as the slice axis.

A case is a part of one sequence: three channels R, G and B of (frames, height, width). Parts keep memory bounded:
frames are read one by one, and nnU-Net loads a whole case at once. ``frames.json`` beside the cases says which frames
a case is made of and which classes its labels stand for; it is what leads from predictions back to masks.

All cases have the same spacing, so nothing is resampled, and the largest one is that of time, which makes it the
first axis of nnU-Net's patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunetv2.utilities.crossval_split import generate_crossval_split
from tqdm import tqdm

from nnunetv2_masam.files import atomic_folder, write_json
from nnunetv2_masam.images import read_image, write_image
from nnunetv2_masam.label_files import whole_numbers
from nnunetv2_masam.splits import CROSS_VALIDATION_FOLDS, SPLIT_SEED, SPLITS_FILE
from nnunetv2_masam.video.classes import IDS, MaskReader, read_frame, scale
from nnunetv2_masam.video.frame_map import AS_RECORDED, CaseFrames, FrameMap, Scaling
from nnunetv2_masam.video.requests import DEFAULT_MAX_FRAMES
from nnunetv2_masam.video.sequences import VideoSequence

FILE_ENDING = ".nii.gz"
CHANNEL_NAMES = {"0": "rgb_to_0_1", "1": "rgb_to_0_1", "2": "rgb_to_0_1"}  # by them nnU-Net divides by 255
SPACING = (1.0, 1.0, 5.0)  # x, y, time: no lengths, but what makes time the axis that is pooled last


def split_evenly(count: int, most: int) -> list[slice]:
    """Split into as few parts as possible of at most ``most`` frames, of lengths that differ by one at most."""
    if most < 1:
        raise ValueError(f"--max-frames {most}: expected at least 1")
    parts = np.array_split(np.arange(count), math.ceil(count / most))
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def write_dataset(
    target: Path,
    sequences: Sequence[VideoSequence],
    reader: MaskReader,
    *,
    max_frames: int = DEFAULT_MAX_FRAMES,
    scaling: Scaling = AS_RECORDED,
    about: Mapping[str, str] | None = None,
) -> FrameMap:
    """Write an nnU-Net dataset of sequences, whole or not at all.

    Args:
        target: the new ``nnUNet_raw/DatasetXXX_Name``.
        sequences: those with masks and not for testing are trained on; masks of the others go to ``labelsTs``.
        max_frames: of a case.

    Returns:
        what ``frames.json`` holds.

    Raises:
        ValueError: ``target`` exists, there is nothing to train on, or a picture is not what it should be.
    """
    if all(s.test for s in sequences):
        raise ValueError("no sequence has masks, so there is nothing to train on; see `nnUNetv2_masam convert frames`")
    cases: dict[str, CaseFrames] = {}
    with atomic_folder(target) as folder:
        for sequence in tqdm(sequences, desc="converting", unit="sequence", disable=None):
            part = "Ts" if sequence.test else "Tr"
            found = write_images(folder / f"images{part}", sequence, max_frames, scaling)
            if sequence.masks is not None:
                write_labels(folder / f"labels{part}", sequence, found, reader, scaling)
            cases.update(found)
        frame_map = FrameMap(reader.classes, reader.kind or IDS, cases, scaling)
        frame_map.write(folder)
        _write_description(folder, [s.name for s in sequences if not s.test], frame_map, about or {})
    return frame_map


def _write_description(folder: Path, training: Sequence[str], frame_map: FrameMap, about: Mapping[str, str]) -> None:
    """``dataset.json``, and the folds of the sequences that are trained on."""
    cases_of = {name: [case for case, entry in frame_map.cases.items() if entry.sequence == name] for name in training}
    if splits := split_by_sequence(cases_of):
        write_json(folder / SPLITS_FILE, splits, indent=4)
    content = {
        "channel_names": CHANNEL_NAMES,
        "labels": {c.name: label for label, c in enumerate(frame_map.classes)},
        "numTraining": sum(map(len, cases_of.values())),
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
        **about,
    }
    write_json(folder / "dataset.json", content, indent=4)


def write_images(
    folder: Path, sequence: VideoSequence, max_frames: int, scaling: Scaling = AS_RECORDED
) -> dict[str, CaseFrames]:
    """Write a sequence's frames as cases of three channels.

    Returns:
        its cases in the order of time, as in :class:`FrameMap`.
    """
    folder.mkdir(exist_ok=True)
    original = picture_size(sequence)
    cases = {}
    for number, part in enumerate(split_evenly(len(sequence.frames), max_frames), start=1):
        case = f"{sequence.name}_part{number:02d}"
        frames = sequence.frames[part]
        volumes = np.moveaxis(_stack(frames, sequence, read_frame, scaling.of(original)), -1, 0)
        for channel, volume in enumerate(volumes):
            write_volume(folder / f"{case}_{channel:04d}{FILE_ENDING}", volume)
        cases[case] = CaseFrames(sequence.name, tuple(path.name for path in frames), original)
    return cases


def write_labels(
    folder: Path,
    sequence: VideoSequence,
    cases: Mapping[str, CaseFrames],
    reader: MaskReader,
    scaling: Scaling = AS_RECORDED,
) -> None:
    """Write a sequence's masks for the cases that :func:`write_images` made of it."""
    assert sequence.masks is not None
    folder.mkdir(exist_ok=True)
    start = 0
    for case, entry in cases.items():
        masks = sequence.masks[start : start + len(entry.frames)]
        write_volume(folder / f"{case}{FILE_ENDING}", _stack(masks, sequence, reader.read, scaling.of(entry.size)))
        start += len(masks)


def picture_size(sequence: VideoSequence) -> tuple[int, int]:
    """(height, width) of a sequence's first frame."""
    height, width = read_frame(sequence.frames[0]).shape[:2]
    return height, width


def _stack(
    paths: Sequence[Path], sequence: VideoSequence, read: Callable[[Path], np.ndarray], size: tuple[int, int]
) -> np.ndarray:
    """Pictures of a sequence in one array, (frames, height, width, …), scaled to ``size``."""
    original = picture_size(sequence)
    stack: np.ndarray | None = None
    for n, path in enumerate(paths):
        picture = read(path)
        if picture.shape[:2] != original:
            raise ValueError(
                f"{path}: {picture.shape[1]} x {picture.shape[0]} pixels, but {sequence.frames[0].name} of its "
                f"sequence has {original[1]} x {original[0]}; "
                + (
                    "frames are turned upright as their EXIF says, so turn the masks too"
                    if picture.shape[:2] == original[::-1]
                    else "resize them to one size"
                )
            )
        picture = scale(picture, size)
        if stack is None:
            stack = np.empty((len(paths), *picture.shape), picture.dtype)
        stack[n] = picture
    assert stack is not None
    return stack


def write_volume(path: Path, volume: np.ndarray) -> None:
    """Write (frames, height, width) with the spacing of all videos."""
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing(SPACING)
    write_image(image, path)


def read_volume(path: Path) -> np.ndarray:
    """Read whole numbers, labels or one colour, (frames, height, width); other files are named in the error."""
    return whole_numbers(sitk.GetArrayFromImage(read_image(path)), path)[0]


def split_by_sequence(cases_of: Mapping[str, Sequence[str]]) -> list[dict[str, list[str]]]:
    """Folds that keep the cases of a sequence together, for ``splits_final.json``; none for a single sequence.

    As many folds as nnU-Net makes, or one for each sequence where there are fewer. nnU-Net's planner copies the file
    from the raw data.
    """
    names = sorted(cases_of)
    if len(names) < 2:
        return []
    folds = generate_crossval_split(names, seed=SPLIT_SEED, n_splits=min(CROSS_VALIDATION_FOLDS, len(names)))
    return [
        {part: sorted(case for name in fold[part] for case in cases_of[str(name)]) for part in ("train", "val")}
        for fold in folds
    ]
