"""``frames.json``: which frames and classes the cases of a video dataset stand for, and how frames were scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import read_json, write_json
from nnunetv2_masam.video.classes import VideoClass

FRAMES_FILE = "frames.json"


@dataclass(frozen=True)
class Scaling:
    """What size cases have. Without any number that of their frames.

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
    """What a case is made of.

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
    """What leads from cases back to frames: the content of ``frames.json``.

    Attributes:
        classes: in the order of nnU-Net's labels; empty where they are not known.
        kind: what the masks held, ``"ids"`` or ``"colours"``.
        cases: case → what it is made of.
        scaling: what size the cases have; new videos for the same model need the same.
        vanished: class → frames in which all its pixels are gone in the smaller case.
    """

    classes: tuple[VideoClass, ...]
    kind: str
    cases: Mapping[str, CaseFrames] = field(default_factory=dict)
    scaling: Scaling = Scaling()
    vanished: Mapping[str, int] = field(default_factory=dict)

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
    try:
        found = FrameMap(
            tuple(VideoClass(c["name"], c["id"], c["colour"] and tuple(c["colour"])) for c in content["classes"]),
            content["masks"],
            {
                case: CaseFrames(entry["sequence"], tuple(entry["frames"]), tuple(entry["size"]))
                for case, entry in content["cases"].items()
            },
            _read_scaling(content.get("scaling", {})),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a {FRAMES_FILE} of ours ({type(error).__name__}: {error})") from error
    for entry in found.cases.values():  # they become files
        for name in (entry.sequence, *entry.frames):
            if not isinstance(name, str) or Path(name).name != name or name in ("", ".."):
                raise ValueError(f"{path}: {name!r} is no name of a sequence or frame")
    return found


def _read_scaling(content: Mapping[str, Any]) -> Scaling:
    size = content.get("size")
    return Scaling(None if size is None else (int(size[0]), int(size[1])), content.get("longest_side"))
