"""Boxes as 3D Slicer keeps them: markups of type ROI in ``.mrk.json`` files.

A region has a centre, a size and an orientation in millimetres, in LPS unless the file says RAS. The columns of the
orientation, which is written row by row, are the region's own axes. Format: Slicer's markups-schema-v1.0.3.

A file belongs to the case in its name, ``CASE.mrk.json``, and may hold any number of regions. Where Slicer saved each
region in a file of its own, the files of a case are in a folder ``CASE/``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunetv2_masam.files import list_folder, read_json
from nnunetv2_masam.prompts import VoxelBox
from nnunetv2_masam.prompts.world import box_of_points

ENDING = ".mrk.json"
_ALIGNED = 1e-3  # a cosine's distance from 0 or 1 that counts as rounding


@dataclass(frozen=True)
class Region:
    """A box in the world.

    Attributes:
        center_mm: (x, y, z), LPS.
        axes: (3, 3); the columns are the box's axes, LPS.
        size_mm: along the box's axes.
        source: where it was read, for errors.
    """

    center_mm: np.ndarray
    axes: np.ndarray
    size_mm: np.ndarray
    source: str

    def voxel_box(self, image: sitk.Image) -> VoxelBox:
        """The region in voxels: exact along the image's axes, the box around it along the world's.

        Raises:
            ValueError: it is rotated against both, or does not lie inside the image.
        """
        direction = np.array(image.GetDirection()).reshape(3, 3) if image.GetDimension() == 3 else np.eye(3)
        if not (_is_aligned(direction.T @ self.axes) or _is_aligned(self.axes)):
            raise ValueError(
                f"{self.source}: the region is rotated against the image. A box prompt lies along the image's axes, "
                "and one around a rotated region would hold more than was drawn. Reset the rotation in Slicer"
            )
        half = self.size_mm / 2
        corners = [self.center_mm + self.axes @ (signs * half) for signs in itertools.product((-1, 1), repeat=3)]
        return box_of_points([(float(x), float(y), float(z)) for x, y, z in corners], image, self.source)


def read_markups(path: Path) -> dict[str, list[Region]]:
    """Regions by case.

    Args:
        path: ``CASE.mrk.json``, or a folder with ``CASE.mrk.json`` files, ``CASE/*.mrk.json``, or both.

    Raises:
        ValueError: there are no such files, or one holds something else than boxes.
    """
    if not path.is_dir():
        return {path.name[: -len(ENDING)]: _read_file(path)}
    found: dict[str, list[Region]] = {}
    for entry in list_folder(path):
        if entry.is_dir() and not entry.name.startswith("."):
            for file in list_folder(entry):
                if file.name.lower().endswith(ENDING):
                    found.setdefault(entry.name, []).extend(_read_file(file))
        elif entry.name.lower().endswith(ENDING):
            found.setdefault(entry.name[: -len(ENDING)], []).extend(_read_file(entry))
    if not found:
        raise ValueError(f"--from: {path} has no CASE{ENDING}, neither in it nor in folders called as the cases")
    return found


def _read_file(path: Path) -> list[Region]:
    content = read_json(path, dict)
    markups = content.get("markups")
    if not isinstance(markups, list) or not all(isinstance(entry, dict) for entry in markups):
        raise ValueError(f"{path}: has no list of markups, expected a file that 3D Slicer saves for a ROI")
    return [_region(entry, f"{path}, markup {number}") for number, entry in enumerate(markups, start=1)]


def _region(entry: dict[str, Any], source: str) -> Region:
    kind = (entry.get("type"), entry.get("roiType", "Box"))
    if kind not in (("ROI", "Box"), ("ROI", "BoundingBox")):
        raise ValueError(f"{source}: got {kind[0]} {kind[1] if kind[0] == 'ROI' else ''}, expected a ROI of type Box")
    if entry.get("insideOut"):
        raise ValueError(f"{source}: the region is inside out; switch that off in Slicer")
    unit = entry.get("coordinateUnits", "mm")  # a code, or a list of code, scheme and meaning
    if unit != "mm" and not (isinstance(unit, list) and unit[:1] == ["mm"]):
        raise ValueError(f"{source}: coordinateUnits {unit!r}, expected mm")
    system = entry.get("coordinateSystem", "LPS")
    if system not in ("LPS", "RAS"):
        raise ValueError(f"{source}: coordinateSystem {system!r}, expected LPS or RAS")
    points = entry.get("controlPoints")
    first = points[0].get("position") if isinstance(points, list) and points and isinstance(points[0], dict) else None
    center = _numbers(entry.get("center", first), 3, f"{source}: center")
    axes = _numbers(entry.get("orientation", np.eye(3).ravel().tolist()), 9, f"{source}: orientation").reshape(3, 3)
    size = _numbers(entry.get("size"), 3, f"{source}: size")
    if (size == 0).any():
        raise ValueError(
            f"{source}: the region has no extent, size {size.tolist()} mm. Draw it again, or delete it for no box"
        )
    if (size < 0).any() or not np.allclose(axes.T @ axes, np.eye(3), atol=_ALIGNED):
        raise ValueError(
            f"{source}: got the size {size.tolist()} and orientation {axes.tolist()}, expected no negative size and "
            "axes of length 1 at right angles"
        )
    to_lps = np.diag([-1.0, -1.0, 1.0]) if system == "RAS" else np.eye(3)
    return Region(to_lps @ center, to_lps @ axes, size, source)


def _numbers(value: Any, count: int, what: str) -> np.ndarray:
    is_list = isinstance(value, list) and all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in value)
    if not is_list or len(value) != count or not np.isfinite(value).all():
        raise ValueError(f"{what}: got {value!r}, expected {count} numbers")
    return np.array(value, float)


def _is_aligned(axes: np.ndarray) -> bool:
    """Whether every column is one of the axes of the frame that it is given in, in either direction."""
    size = np.abs(axes)
    return bool(np.allclose(size, np.rint(size), atol=_ALIGNED))
