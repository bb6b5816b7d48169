"""Find the sequences in folders of video frames and masks, and report what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.files import shortened
from nnunetv2_masam.video.classes import VideoClass, classes_of_ids, find_values, read_classes

FRAME_FOLDERS = ("frames", "images")
MASK_FOLDERS = ("masks", "labels")
FRAME_ENDINGS = (".png", ".jpg", ".jpeg")
MASK_ENDINGS = (".png",)

LAYOUT = """\
SRC/
  labels.json              optional: {name: id}, {name: [r, g, b]}, or a list of {"name", "classid", "color"}
  SEQUENCE/
    frames/ or images/     one PNG or JPEG per frame, in the order of the numbers in their names
    masks/ or labels/      one PNG per frame, of the same name: grey (ids) or RGB (colours)
"""


@dataclass(frozen=True)
class VideoSequence:
    """One sequence of frames.

    Attributes:
        name: begins the names of its cases, and names the folder of its predicted masks.
        frames: files in the order of time.
        masks: one file per frame, or None.
        test: whether it is kept out of training.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...] | None
    test: bool


def natural_order(path: Path) -> list[tuple[int, str]]:
    """A key that sorts ``frame9`` before ``frame10``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]


def find_sequences(source: Path, test: Sequence[str] = ()) -> list[VideoSequence]:
    """The sequences of a folder in our own layout.

    Args:
        test: names of sequences to keep out of training, besides those without masks.

    Raises:
        ValueError: the folder is not laid out so, or has no sequence of such a name.
    """
    sequences = []
    for folder in sorted(list_visible(source), key=natural_order):
        frames_in = _first_folder(folder, FRAME_FOLDERS)
        if frames_in is None:
            continue
        frames = list_images(frames_in, FRAME_ENDINGS)
        masks_in = _first_folder(folder, MASK_FOLDERS)
        masks = None if masks_in is None else match_masks(frames, list_images(masks_in, MASK_ENDINGS), masks_in)
        sequences.append(VideoSequence(folder.name, frames, masks, test=masks is None or folder.name in test))
    if not sequences:
        raise ValueError(f"{source}: no folder in it has a folder {' or '.join(FRAME_FOLDERS)}. Expected:\n\n{LAYOUT}")
    if unknown := sorted(set(test) - {s.name for s in sequences}):
        raise ValueError(f"--test {' '.join(unknown)}: there are {', '.join(s.name for s in sequences)}")
    return sequences


def find_frames(source: Path) -> list[VideoSequence]:
    """Sequences to predict: a folder of pictures, or a folder of such folders (or of our own layout).

    Raises:
        ValueError: no pictures in either place.
    """
    if any(path.suffix.lower() in FRAME_ENDINGS for path in list_visible(source)):
        return [VideoSequence(source.resolve().name, list_images(source, FRAME_ENDINGS), None, test=True)]
    sequences = []
    for folder in sorted((p for p in list_visible(source) if p.is_dir()), key=natural_order):
        frames_in = _first_folder(folder, FRAME_FOLDERS) or folder
        if any(path.suffix.lower() in FRAME_ENDINGS for path in list_visible(frames_in)):
            frames = list_images(frames_in, FRAME_ENDINGS)
            sequences.append(VideoSequence(folder.name, frames, None, test=True))
    if not sequences:
        raise ValueError(f"{source}: no pictures ({', '.join(FRAME_ENDINGS)}) in it or in its folders")
    return sequences


def find_classes(source: Path, sequences: Sequence[VideoSequence]) -> tuple[VideoClass, ...]:
    """The classes of ``labels.json``, else of the ids that the masks hold.

    Raises:
        ValueError: the masks hold colours, which only a ``labels.json`` can name.
    """
    path = source / "labels.json"
    if path.is_file():
        return read_classes(path)
    ids, colours = find_values(mask for sequence in sequences for mask in sequence.masks or ())
    if colours:
        shown = ", ".join(f'"class_{n}": {list(colour)}' for n, colour in enumerate(sorted(colours)[:12]))
        raise ValueError(
            f"{path}: not found, and the masks hold {len(colours)} colours. Name each of them there, for instance "
            f"{{{shown}}}; one has to be called background"
        )
    return classes_of_ids(ids)


def list_visible(folder: Path) -> list[Path]:
    """The content of a folder without hidden files and macOS' shadow folders.

    Raises:
        FileNotFoundError: no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    return [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]


def list_images(folder: Path, endings: Sequence[str]) -> tuple[Path, ...]:
    """The pictures of a folder in natural order.

    Raises:
        ValueError: none, or two that differ in their endings only.
    """
    found = sorted((p for p in list_visible(folder) if p.suffix.lower() in endings), key=natural_order)
    if not found:
        raise ValueError(f"{folder}: no pictures ({', '.join(endings)})")
    stems = [path.stem for path in found]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{folder}: several pictures are called {shortened(twice)}; keep one of each")
    return tuple(found)


def match_masks(frames: Sequence[Path], masks: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """One mask for each frame, by name.

    Raises:
        ValueError: a frame has no mask, or a mask no frame.
    """
    mask_of = {mask.stem: mask for mask in masks}
    without = [frame.name for frame in frames if frame.stem not in mask_of]
    over = sorted(set(mask_of) - {frame.stem for frame in frames})
    if without or over:
        raise ValueError(
            f"{folder}: {len(without)} of {len(frames)} frames have no mask ({shortened(without) or 'none'}) and "
            f"{len(over)} masks no frame ({shortened(over) or 'none'}); expected one mask of the same name for "
            "each frame. Remove what has no partner, or the whole folder of masks to predict the sequence only"
        )
    return tuple(mask_of[frame.stem] for frame in frames)


def _first_folder(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)
