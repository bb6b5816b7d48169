"""Boxes that a person drew: read from a CSV or JSON file, converted to voxels.

CSV, a row for each box, separated by commas, semicolons or tabs; a row with nothing but a case says that it has none:

    case,x0,y0,z0,x1,y1,z1
    case_001,31,40,12,55,62,19
    case_002,,,,,,

JSON, the same: ``{"case_001": [[31, 40, 12, 55, 62, 19]], "case_002": []}``.

Two corners, the smaller coordinate first along each axis. In voxels (``voxel``) they are the first and the last voxel
inside, counted from 0 along the axes of the file, the fastest first. In millimetres they are positions in the world:
``lps`` as ITK has it (x to the patient's left, y to the back), ``ras`` as NIfTI has it (x to the right, y to the
front). Inside are voxels whose centre lies between the corners.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunetv2_masam.csv_tables import read_csv_table
from nnunetv2_masam.files import read_json
from nnunetv2_masam.options import read_number
from nnunetv2_masam.prompts import VoxelBox
from nnunetv2_masam.prompts.markups import ENDING, read_markups
from nnunetv2_masam.prompts.requests import COORDINATES
from nnunetv2_masam.prompts.world import box_of_points, checked_box

BoxOfImage = Callable[[sitk.Image], VoxelBox]  # converts a drawn box to voxels of an image
Corners = tuple[float, ...]  # x0, y0, z0, x1, y1, z1
COLUMNS = ("x0", "y0", "z0", "x1", "y1", "z1")


def read_drawn(path: Path, coordinates: str | None = None) -> dict[str, list[BoxOfImage]]:
    """Boxes by case, from a table or from 3D Slicer's markups.

    Args:
        path: a ``.csv`` or ``.json`` file, a ``CASE.mrk.json`` file, or a folder of those.
        coordinates: one of ``COORDINATES``, for tables; markups know theirs.

    Raises:
        ValueError: it cannot be read, or ``coordinates`` are missing or superfluous.
    """
    if path.is_dir() or path.name.lower().endswith(ENDING):
        if coordinates is not None:
            raise ValueError(f"--coordinates: {path} holds markups, which say themselves whether they are LPS or RAS")
        return {case: [region.voxel_box for region in found] for case, found in read_markups(path).items()}
    boxes = read_boxes(path)
    if coordinates not in COORDINATES:
        raise ValueError(
            f"--coordinates: got {coordinates!r}; say whether the numbers in {path.name} are voxel, lps or ras "
            "(millimetres)"
        )
    return {case: [partial(voxel_box, corners, coordinates) for corners in found] for case, found in boxes.items()}


def read_boxes(path: Path) -> dict[str, list[Corners]]:
    """Boxes by case, from a table.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: with every fault in it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--from: no file {path}")
    if path.suffix.lower() == ".json":
        rows = _rows_of_json(path)
    elif path.suffix.lower() == ".csv":
        rows = _rows_of_csv(path)
    else:
        raise ValueError(f"--from: got {path.name}, expected a .csv or .json file, CASE.mrk.json or a folder of those")
    boxes: dict[str, list[Corners]] = {}
    faults = []
    for place, case, values in rows:
        found = boxes.setdefault(case, [])
        if values is None:
            continue
        try:
            found.append(_corners(values))
        except ValueError as error:
            faults.append(f"  {place}, {case}: {error}")
    if faults:
        raise ValueError(f"{path}: boxes that cannot be read:\n" + "\n".join(faults))
    return boxes


def _rows_of_csv(path: Path) -> list[tuple[str, str, Sequence[Any] | None]]:
    rows: list[tuple[str, str, Sequence[Any] | None]] = []
    for line, row in read_csv_table(path, ("case", *COLUMNS), optional=COLUMNS):
        values = [row[column] for column in COLUMNS]
        rows.append((f"line {line}", row["case"], values if any(values) else None))
    return rows


def _rows_of_json(path: Path) -> list[tuple[str, str, Sequence[Any] | None]]:
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(found, list) for found in content.values()):
        raise ValueError(f'{path}: expected {{"case": [[x0, y0, z0, x1, y1, z1], ...], ...}}')
    rows: list[tuple[str, str, Sequence[Any] | None]] = []
    for case, found in content.items():
        rows += [(f"box {i + 1}", case, box) for i, box in enumerate(found)] or [("no box", case, None)]
    return rows


def _corners(values: Sequence[Any]) -> Corners:
    try:
        numbers = tuple(float(read_number(v) if isinstance(v, str) else v) for v in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"got {values}, expected six numbers {', '.join(COLUMNS)}")
    if reversed_ := [axis for axis, low, high in zip("xyz", numbers[:3], numbers[3:], strict=True) if low > high]:
        raise ValueError(f"reversed along {', '.join(reversed_)}: {numbers}; the smaller coordinate comes first")
    return numbers


def voxel_box(corners: Corners, coordinates: str, image: sitk.Image) -> VoxelBox:
    """Corners to voxels of an image.

    Args:
        corners: x0, y0, z0, x1, y1, z1.
        coordinates: one of ``COORDINATES``.
        image: whose grid it is. In an oblique one, a box in the world becomes the one along the axes around it.

    Raises:
        ValueError: the box does not lie inside the image, or is given in parts of voxels.
    """
    if coordinates == "voxel":
        if any(value != int(value) for value in corners):
            raise ValueError(f"{corners}: voxels are whole numbers; for millimetres give --coordinates lps or ras")
        return checked_box(np.array(corners[:3], int), np.array(corners[3:], int), image, f"{corners} (voxel)")
    if corners[:3] == corners[3:]:
        raise ValueError(f"{corners} ({coordinates}): a point, expected two corners with an extent between them")
    sign = -1.0 if coordinates == "ras" else 1.0
    points = itertools.product(*zip(corners[:3], corners[3:], strict=True))
    return box_of_points([(sign * x, sign * y, z) for x, y, z in points], image, f"{corners} ({coordinates})")
