"""``frames.json``: which frames and classes the cases of a video dataset stand for, and how frames were scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nnunetv2_masam.files import read_json, write_json
from nnunetv2_masam.video.classes import COLOURS, IDS, VideoClass

FRAMES_FILE = "frames.json"


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
    try:
        classes = tuple(VideoClass(c["name"], c["id"], c["colour"] and tuple(c["colour"])) for c in content["classes"])
        cases = {
            case: CaseFrames(entry["sequence"], tuple(entry["frames"]), tuple(entry["size"]))
            for case, entry in content["cases"].items()
        }
        size, longest_side = content["scaling"]["size"], content["scaling"]["longest_side"]
        scaling = Scaling(size and tuple(size), longest_side)
        frame_map = FrameMap(classes, content["masks"], cases, scaling)
        fault = _fault(frame_map)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault:
        raise ValueError(
            f"{path}: {fault}. Restore it as `nnUNetv2_masam convert` wrote it, or convert the videos again"
        )
    return frame_map


def _fault(frame_map: FrameMap) -> str:
    """What is wrong with the values; "" if nothing is."""
    if frame_map.kind not in (IDS, COLOURS):
        return f"masks: got {frame_map.kind!r}, expected {IDS} or {COLOURS}"
    names = [name for entry in frame_map.cases.values() for name in (entry.sequence, *entry.frames)]
    for name in names:  # they become folders and files
        if Path(name).name != name or name in ("", ".."):
            return f"cases: got {name!r}, expected a plain name, without a path"
    sizes = [entry.size for entry in frame_map.cases.values()]
    sizes += [frame_map.scaling.size] if frame_map.scaling.size else []
    sides = [side for height, width in sizes for side in (height, width)]
    sides += [frame_map.scaling.longest_side] if frame_map.scaling.longest_side else []
    numbers = [number for c in frame_map.classes for number in (c.id, *(c.colour or ()))]
    for number in (*sides, *numbers):
        if type(number) is not int or number < 0:
            return f"got {number!r}, expected whole numbers: ids, colours, and sizes as [height, width] in pixels"
    return ""
