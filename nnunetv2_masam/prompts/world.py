"""From points in the world to voxels of an image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk

from nnunetv2_masam.prompts import VoxelBox

_HALF_OPEN = 1e-4  # voxels by which a centre may miss a face that rounding has moved


def box_of_points(points_lps_mm: Iterable[tuple[float, float, float]], image: sitk.Image, what: str) -> VoxelBox:
    """The box along an image's axes around points: voxels whose centre lies between them, or the nearest one.

    Args:
        points_lps_mm: (x, y, z) in the world, LPS.
        image: whose grid it is.
        what: name of the box, for errors.

    Raises:
        ValueError: the box does not lie inside the image.
    """
    _check_dimension(image)
    indices = np.array([image.TransformPhysicalPointToContinuousIndex(point) for point in points_lps_mm])
    low, high = indices.min(axis=0), indices.max(axis=0)
    first, last = np.ceil(low - _HALF_OPEN), np.floor(high + _HALF_OPEN)
    nearest = np.rint((low + high) / 2)
    between = first <= last
    return checked_box(
        np.where(between, first, nearest).astype(int), np.where(between, last, nearest).astype(int), image, what
    )


def checked_box(first: np.ndarray, last: np.ndarray, image: sitk.Image, what: str) -> VoxelBox:
    """First and last voxel inside, x first, as a box.

    Raises:
        ValueError: the box does not lie inside the image.
    """
    _check_dimension(image)
    size = np.array(image.GetSize())
    if (first < 0).any() or (last >= size).any():
        raise ValueError(
            f"{what} is not inside the image: voxels {first.tolist()} to {last.tolist()} along x, "
            f"y, z, which has {[0, 0, 0]} to {(size - 1).tolist()}"
        )
    return [[int(low), int(high) + 1] for low, high in zip(first[::-1], last[::-1], strict=True)]


def _check_dimension(image: sitk.Image) -> None:
    if image.GetDimension() != 3:
        raise ValueError(f"got an image of {image.GetDimension()} dimensions, boxes are for images of 3")
