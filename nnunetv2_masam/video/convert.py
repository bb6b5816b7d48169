"""From folders of frames to a new dataset, or to images that a model predicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunetv2_masam.files import atomic_folder
from nnunetv2_masam.nnunet_files import new_dataset
from nnunetv2_masam.video.cases import write_dataset, write_images
from nnunetv2_masam.video.classes import IDS, MaskReader, VideoClass, is_turned
from nnunetv2_masam.video.endovis18 import CLASSES, find_endovis18
from nnunetv2_masam.video.frame_map import CaseFrames, FrameMap, Scaling, read_frame_map
from nnunetv2_masam.video.masks import frame_map_of
from nnunetv2_masam.video.requests import DEFAULT_LONGEST_SIDE, CaseSize, FramesRequest, VideoRequest
from nnunetv2_masam.video.sequences import VideoSequence, find_classes, find_frames, find_sequences

DEFAULT_SCALING = Scaling(longest_side=DEFAULT_LONGEST_SIDE)
ENDOVIS18_REFERENCE = "https://arxiv.org/abs/2001.11190"


@dataclass(frozen=True)
class ConvertedVideos:
    """What was written.

    Attributes:
        frame_map: cases and classes.
        unlisted_pixels: how many pixels were taken as background for lack of a class.
        notes: what was left out or replaced.
    """

    folder: Path
    sequences: tuple[VideoSequence, ...]
    frame_map: FrameMap
    unlisted_pixels: int = 0
    notes: tuple[str, ...] = field(default=())

    def sizes(self) -> dict[tuple[int, int], tuple[int, int]]:
        """(height, width) of frames → of their cases."""
        return {entry.size: self.frame_map.scaling.of(entry.size) for entry in self.frame_map.cases.values()}

    def largest_case_gb(self) -> tuple[float, float]:
        """Memory of the largest case in nnU-Net: its float32 channels, and its logits in half precision."""
        areas = [len(entry.frames) * math.prod(self.sizes()[entry.size]) for entry in self.frame_map.cases.values()]
        return 12 * max(areas) / 1e9, 2 * len(self.frame_map.classes) * max(areas) / 1e9


def convert_video(request: VideoRequest) -> ConvertedVideos:
    """Convert a folder in our own layout to a new dataset.

    Raises:
        ValueError: the number is taken, or a file is not what it should be; nothing is written then.
    """
    sequences = find_sequences(request.source, request.test)
    classes = find_classes(request.source, sequences)
    return _convert(request, request.name or request.source.resolve().name, sequences, classes)


def convert_endovis18(request: VideoRequest) -> ConvertedVideos:
    """Convert EndoVis 2018 as it was published; its own test sequences are kept out of training.

    Raises:
        ValueError: the number is taken, or a file is not what it should be; nothing is written then.
    """
    sequences, notes = find_endovis18(request.source)
    about = {"reference": ENDOVIS18_REFERENCE}
    return _convert(request, request.name or "EndoVis18", sequences, CLASSES, notes, about)


def convert_frames(request: FramesRequest) -> ConvertedVideos:
    """Convert new videos to images for prediction.

    Raises:
        ValueError: the output exists, or there are no frames.
    """
    model = FrameMap((), IDS, scaling=DEFAULT_SCALING)
    if request.dataset is not None:
        model = read_frame_map(frame_map_of(request.dataset))
    scaling = scaling_of(request.cases, model.scaling)
    sequences = find_frames(request.source)
    cases: dict[str, CaseFrames] = {}
    with atomic_folder(request.output) as folder:
        for sequence in sequences:
            cases.update(write_images(folder, sequence, request.cases.max_frames, scaling))
        frame_map = FrameMap(model.classes, model.kind, cases, scaling)
        frame_map.write(folder)
    return ConvertedVideos(request.output, tuple(sequences), frame_map, notes=_notes(sequences))


def scaling_of(cases: CaseSize, default: Scaling = DEFAULT_SCALING) -> Scaling:
    """Scaling of the frames; ``default`` where the request has none."""
    if cases.original_size:
        return Scaling()
    given = Scaling(cases.size, cases.longest_side)
    return default if given == Scaling() else given


def _convert(
    request: VideoRequest,
    name: str,
    sequences: Sequence[VideoSequence],
    classes: Sequence[VideoClass],
    notes: Sequence[str] = (),
    about: Mapping[str, str] | None = None,
) -> ConvertedVideos:
    target = new_dataset(request.dataset_id, name)
    reader = MaskReader(classes, unlisted_as_background=request.unlisted_as_background)
    frame_map = write_dataset(
        target, sequences, reader, max_frames=request.cases.max_frames, scaling=scaling_of(request.cases), about=about
    )
    all_notes = (*notes, *_notes(sequences))
    return ConvertedVideos(target, tuple(sequences), frame_map, reader.unlisted_pixels, all_notes)


def _notes(sequences: Sequence[VideoSequence]) -> tuple[str, ...]:
    turned = {sequence.name: sum(map(is_turned, sequence.frames)) for sequence in sequences}
    return tuple(
        f"{name}: {count} frames are turned upright as their EXIF says; masks have to be upright too"
        for name, count in turned.items()
        if count
    )
