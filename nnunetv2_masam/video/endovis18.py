"""EndoVis 2018, robotic scene segmentation: the layout that the challenge published.

Sequences are folders ``seq_N`` with ``left_frames`` and ``labels``, in whatever folders the archives were unpacked to.
Below a folder whose name begins with "test" they are the released test sequences, which share the names ``seq_1`` to
``seq_4`` with training sequences. A folder ``repairs`` holds corrected labels of the training sequences,
``seq_1_frame042.png``; they take the place of the first ones.

As in the authors' preparation, classes are the challenge's twelve, and frames without a label file are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from nnunetv2_masam.video.classes import VideoClass, read_classes
from nnunetv2_masam.video.sequences import FRAME_ENDINGS, MASK_ENDINGS, VideoSequence, list_images, natural_order

FRAMES, LABELS = "left_frames", "labels"
SEQUENCE_NAME = re.compile(r"seq_?(\d+)", re.IGNORECASE)
REPAIR_NAME = re.compile(r"(seq_?\d+)_(.+)", re.IGNORECASE)

LAYOUT = """\
SRC/…/seq_N/                 any folders between, such as miccai_challenge_2018_release_1/
  left_frames/frame000.png
  labels/frame000.png        RGB, the challenge's colours; none where labels are not released
SRC/test_data/…/seq_N/       the released test sequences: below any folder whose name begins with "test"
SRC/repairs/…/seq_N_frame042.png   optional: corrected labels of training sequences
"""

CLASSES = (
    VideoClass("background", 0, (0, 0, 0)),
    VideoClass("instrument-shaft", 1, (0, 255, 0)),
    VideoClass("instrument-clasper", 2, (0, 255, 255)),
    VideoClass("instrument-wrist", 3, (125, 255, 12)),
    VideoClass("kidney-parenchyma", 4, (255, 55, 0)),
    VideoClass("covered-kidney", 5, (24, 55, 125)),
    VideoClass("thread", 6, (187, 155, 25)),
    VideoClass("clamps", 7, (0, 255, 125)),
    VideoClass("suturing-needle", 8, (255, 255, 125)),
    VideoClass("suction-instrument", 9, (123, 15, 175)),
    VideoClass("small-intestine", 10, (124, 155, 5)),
    VideoClass("ultrasound-probe", 11, (12, 255, 141)),
)


def find_endovis18(source: Path) -> tuple[list[VideoSequence], list[str]]:
    """The sequences below a folder, and notes on what was left out or replaced.

    Returns:
        training sequences ``train_seq_N``, then test sequences ``test_seq_N``; lines to tell the user.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: nothing is laid out so, or ``labels.json`` contradicts the challenge's classes.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder")
    folders = [path.parent for path in _find(source, FRAMES) if SEQUENCE_NAME.fullmatch(path.parent.name)]
    if not folders:
        raise ValueError(f"{source}: no folder seq_N with a folder {FRAMES} below it. Expected:\n\n{LAYOUT}")
    for path in _find(source, "labels.json"):
        _check_classes(path)
    repairs = _find_repairs(source)
    notes: list[str] = []
    sequences = []
    for folder in sorted(folders, key=lambda path: (_is_test(path, source), natural_order(path))):
        sequences.append(_read_sequence(folder, _is_test(folder, source), repairs, notes))
    names = [s.name for s in sequences]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{source}: several folders are the sequence {', '.join(twice)}; keep one of each")
    if repairs:
        raise ValueError(f"repairs for frames that are not there: {', '.join(sorted(map(str, repairs.values())))}")
    return sequences, notes


def _read_sequence(folder: Path, test: bool, repairs: dict[tuple[int, str], Path], notes: list[str]) -> VideoSequence:
    match = SEQUENCE_NAME.fullmatch(folder.name)
    assert match
    number = int(match[1])
    name = f"{'test' if test else 'train'}_seq_{number}"
    frames = list_images(folder / FRAMES, FRAME_ENDINGS)
    if not (folder / LABELS).is_dir():
        if not test:
            notes.append(f"{name}: has no labels and is taken as a test sequence")
        return VideoSequence(name, frames, None, test=True)
    mask_of = {mask.stem: mask for mask in list_images(folder / LABELS, MASK_ENDINGS)}
    labelled = tuple(frame for frame in frames if frame.stem in mask_of)
    if not labelled:
        raise ValueError(f"{folder}: no label file is called as a frame is ({frames[0].name})")
    if len(labelled) < len(frames):
        notes.append(f"{name}: {len(frames) - len(labelled)} of {len(frames)} frames have no labels and are left out")
    repaired = [] if test else [frame.stem for frame in labelled if (number, frame.stem) in repairs]
    mask_of.update({stem: repairs.pop((number, stem)) for stem in repaired})
    if repaired:
        notes.append(f"{name}: {len(repaired)} repaired labels replace the first ones")
    return VideoSequence(name, labelled, tuple(mask_of[frame.stem] for frame in labelled), test)


def _find(source: Path, name: str) -> list[Path]:
    """Files or folders of that name below a folder, without macOS' shadow folders."""
    found = (path for path in source.rglob(name) if "__MACOSX" not in path.relative_to(source).parts)
    return sorted(found)


def _is_test(folder: Path, source: Path) -> bool:
    return any(part.lower().startswith("test") for part in folder.relative_to(source).parts)


def _find_repairs(source: Path) -> dict[tuple[int, str], Path]:
    repairs = {}
    for folder in _find(source, "repairs"):
        for path in folder.rglob("*.png"):
            match = REPAIR_NAME.fullmatch(path.stem)
            if match and not path.name.startswith("."):
                sequence = SEQUENCE_NAME.fullmatch(match[1])
                assert sequence
                repairs[int(sequence[1]), match[2]] = path
    return repairs


def _check_classes(path: Path) -> None:
    """Refuse a ``labels.json`` whose ids and colours are not the challenge's; names vary between its releases."""
    known = {c.id: c.colour for c in CLASSES}
    for found in read_classes(path):
        if found.colour is not None and known.get(found.id) != found.colour:
            raise ValueError(
                f"{path}: {found.name} has the id {found.id} and the colour {list(found.colour)}, but EndoVis 2018 "
                f"gives this id the colour {known.get(found.id)}. Use `nnUNetv2_masam convert video` for other classes"
            )
