"""``frames.json``: which frames and classes the cases of a video dataset stand for, and how frames were scaled."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import read_json, write_json
from nnunetv2_masam.video.classes import COLOURS, IDS, MAX_ID, VideoClass

FRAMES_FILE = "frames.json"
_REMEDY = "Restore the file as `nnUNetv2_masam convert` wrote it, or convert the videos again"


@dataclass(frozen=True)
class Scaling:
    """Size of the cases; without any number, that of their frames.

    Attributes:
        size: (height, width) of all cases.
        longest_side: larger frames are reduced to this along their longest side, with their proportions; pixels.
    """

    size: tuple[int, int] | None = None
    longest_side: int | None = None

    def of(self, original: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a case of frames of that size."""
        if self.size is not None:
            return self.size
        if self.longest_side is None or max(original) <= self.longest_side:
            return original
        factor = self.longest_side / max(original)
        height, width = (max(1, round(side * factor)) for side in original)
        return height, width


AS_RECORDED = Scaling()


@dataclass(frozen=True)
class CaseFrames:
    """Frames that a case is made of.

    Attributes:
        sequence: name.
        frames: names of the files, in the order of time.
        size: (height, width) of the files, which the case need not have.
    """

    sequence: str
    frames: tuple[str, ...]
    size: tuple[int, int]


@dataclass(frozen=True)
class FrameMap:
    """Map from cases back to frames: the content of ``frames.json``.

    Attributes:
        classes: in the order of nnU-Net's labels; empty where they are not known.
        kind: what the masks held, ``"ids"`` or ``"colours"``.
        cases: case → what it is made of.
        scaling: what size the cases have; new videos for the same model need the same.
    """

    classes: tuple[VideoClass, ...]
    kind: str
    cases: Mapping[str, CaseFrames] = field(default_factory=dict)
    scaling: Scaling = Scaling()

    @property
    def is_reduced(self) -> bool:
        """Whether a case has another size than its frames."""
        return any(self.scaling.of(entry.size) != entry.size for entry in self.cases.values())

    def write(self, folder: Path) -> None:
        """Write ``frames.json`` into a folder."""
        content = {
            "classes": [asdict(c) for c in self.classes],
            "masks": self.kind,
            "scaling": asdict(self.scaling),
            "cases": {case: asdict(entry) for case, entry in self.cases.items()},
        }
        write_json(folder / FRAMES_FILE, content)


def read_frame_map(path: Path) -> FrameMap:
    """Read a ``frames.json``, given as the file or its folder.

    Raises:
        FileNotFoundError: not there.
        ValueError: not what :meth:`FrameMap.write` writes.
    """
    path = path / FRAMES_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; `nnUNetv2_masam convert` writes it for videos")
    content = read_json(path, dict)
    place = f"{path}: "
    kind = _read(content, place, "masks", f"{IDS} or {COLOURS}", lambda v: v in (IDS, COLOURS))
    classes = _read(content, place, "classes", "a list", lambda v: isinstance(v, list))
    cases = _read(content, place, "cases", "an object {…}", lambda v: isinstance(v, dict))
    scaling = _read(content, place, "scaling", "an object {…}", lambda v: isinstance(v, dict))
    return FrameMap(
        tuple(_read_class(entry, f"{path}: classes[{n}].") for n, entry in enumerate(classes)),
        kind,
        {case: _read_case(entry, f"{path}: cases[{case!r}].") for case, entry in cases.items()},
        _read_scaling(scaling, f"{path}: scaling."),
    )


def _read_class(content: Any, place: str) -> VideoClass:
    name = _read(content, place, "name", "a name", lambda value: isinstance(value, str) and value != "")
    number = _read(
        content, place, "id", f"a whole number from 0 to {MAX_ID}", lambda value: _is_whole(value, 0, MAX_ID)
    )
    colour = _read(content, place, "colour", "null or [r, g, b] from 0 to 255", _is_colour)
    return VideoClass(name, number, colour and tuple(colour))


def _read_case(content: Any, place: str) -> CaseFrames:
    plain = "a plain name, without a path"  # sequences and frames become folders and files
    sequence = _read(content, place, "sequence", plain, _is_plain_name)
    frames = _read(content, place, "frames", "a list of file names", lambda v: isinstance(v, list) and v)
    for frame in frames:
        _check(frame, f"{place}frames", plain, _is_plain_name)
    size = _read(content, place, "size", "[height, width] in pixels", _is_size)
    return CaseFrames(sequence, tuple(frames), (size[0], size[1]))


def _read_scaling(content: Any, place: str) -> Scaling:
    size = _read(content, place, "size", "null or [height, width] in pixels", lambda v: v is None or _is_size(v))
    longest = _read(content, place, "longest_side", "null or pixels", lambda v: v is None or _is_whole(v, 1))
    return Scaling(None if size is None else (size[0], size[1]), longest)


def _read(content: Any, place: str, name: str, expected: str, fits: Callable[[Any], object]) -> Any:
    """The value of a field that ``fits``; errors call it ``place`` and ``name``."""
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"{place}{name}: missing, expected {expected}. {_REMEDY}")
    return _check(content[name], f"{place}{name}", expected, fits)


def _check(value: Any, field: str, expected: str, fits: Callable[[Any], object]) -> Any:
    if not fits(value):
        raise ValueError(f"{field}: got {reprlib.repr(value)}, expected {expected}. {_REMEDY}")
    return value


def _is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    return type(value) is int and least <= value <= most


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_whole(side, 1) for side in value)


def _is_colour(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == 3 and all(_is_whole(part, 0, 255) for part in value)


def _is_plain_name(value: Any) -> bool:
    return isinstance(value, str) and Path(value).name == value and value not in ("", "..")
