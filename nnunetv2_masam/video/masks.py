"""nnU-Net's predictions of video cases back to one mask per frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnunetv2_masam.files import atomic_folder
from nnunetv2_masam.nnunet_files import raw_dataset
from nnunetv2_masam.video.cases import FILE_ENDING, read_volume
from nnunetv2_masam.video.classes import COLOURS, IDS, VideoClass, check_writable, scale, write_mask
from nnunetv2_masam.video.frame_map import FRAMES_FILE, FrameMap, read_frame_map
from nnunetv2_masam.video.requests import MasksRequest
from nnunetv2_masam.video.sequences import list_visible


def find_cases(folders: Sequence[Path], frame_map: FrameMap) -> dict[str, Path]:
    """The predicted cases in folders.

    Raises:
        ValueError: none, one twice, or one that ``frames.json`` does not know.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(p for p in list_visible(folder) if p.name.endswith(FILE_ENDING)):
            case = path.name.removesuffix(FILE_ENDING)
            if case not in frame_map.cases:
                raise ValueError(f"{path}: frames.json knows no such case; is it the one of this dataset?")
            if case in found:
                raise ValueError(f"{case} is in {found[case].parent} and in {folder}; give one of them")
            found[case] = path
    if not found:
        raise ValueError(f"{', '.join(map(str, folders))}: no files *{FILE_ENDING}")
    return found


def read_case(path: Path, frame_map: FrameMap) -> np.ndarray:
    """Labels of a case, (frames, height, width).

    Raises:
        ValueError: it has not as many slices as the case has frames.
    """
    volume = read_volume(path)
    frames = frame_map.cases[path.name.removesuffix(FILE_ENDING)].frames
    if volume.ndim != 3 or len(volume) != len(frames):
        raise ValueError(f"{path}: shape {volume.shape}, but frames.json lists {len(frames)} frames")
    return volume


def frame_map_of(dataset: str) -> Path:
    """``frames.json`` of a dataset, by its number or name.

    Raises:
        ValueError: there is no such dataset in ``nnUNet_raw``.
    """
    return raw_dataset(dataset) / FRAMES_FILE


def write_masks(request: MasksRequest) -> dict[str, int]:
    """Write ``SEQUENCE/FRAME.png``, of the frame's size, for all predictions of a folder, whole or not at all.

    Returns:
        sequence → number of frames.

    Raises:
        ValueError: the output exists, or a sequence lacks some of its parts.
    """
    if request.frame_map is not None:
        frame_map = read_frame_map(request.frame_map)
    elif request.dataset is not None:
        frame_map = read_frame_map(frame_map_of(request.dataset))
    else:
        raise ValueError("no frame_map and no dataset; give one, for what the cases are made of")
    kind = IDS if request.ids else COLOURS if request.colours else frame_map.kind
    found = find_cases([request.predictions], frame_map)
    sequences = {frame_map.cases[case].sequence for case in found}
    if lacking := [c for c, entry in frame_map.cases.items() if entry.sequence in sequences and c not in found]:
        raise ValueError(
            f"{request.predictions}: {', '.join(lacking)} not there, though other parts of the same sequences are"
        )
    written: dict[str, int] = defaultdict(int)
    with atomic_folder(request.output) as partial:
        for case, file in found.items():
            entry = frame_map.cases[case]
            volume = read_case(file, frame_map)
            classes = frame_map.classes or tuple(VideoClass(str(n), n) for n in range(int(volume.max()) + 1))
            check_writable(classes, kind)
            (partial / entry.sequence).mkdir(exist_ok=True)
            for frame, labels in zip(entry.frames, volume, strict=True):
                path = partial / entry.sequence / f"{Path(frame).stem}.png"
                write_mask(path, scale(labels, entry.size), classes, kind)
            written[entry.sequence] += len(volume)
    return dict(written)
