"""Convert points in millimetres to voxels of an image, and refuse files whose place in the world is ambiguous."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk

from nnunetv2_masam.images import apart_mm
from nnunetv2_masam.prompts import VoxelBox

MOST_APART_VOX = 0.1  # between two transforms of the same file
_HALF_OPEN = 1e-4  # voxels by which a centre may miss a face that rounding has moved


def box_of_points(points_lps_mm: Iterable[tuple[float, float, float]], image: sitk.Image, what: str) -> VoxelBox:
    """The box along an image's axes around points: voxels whose centre lies between them, or the nearest one.

    Args:
        points_lps_mm: (x, y, z) in the world, LPS.

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


def check_transforms(path: Path) -> None:
    """Refuse a NIfTI file that does not say clearly where it lies.

    nibabel, FSLeyes and SPM take the sform where there is one, SimpleITK and 3D Slicer mostly the qform; without
    either, each has a rule of its own. Millimetres of one program are then other voxels in another.

    Raises:
        ValueError: both transforms are valid and put a corner in different places, or neither is valid.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        return
    header: Any = nibabel.load(path).header
    (sform, sform_code), (qform, qform_code) = header.get_sform(coded=True), header.get_qform(coded=True)
    remedy = (
        "give boxes in voxels (--coordinates voxel), or set both to the one that is right, in nibabel with "
        "image.set_sform(affine, 1) and image.set_qform(affine, 1)"
    )
    if not sform_code and not qform_code:
        raise ValueError(f"{path}: has neither a valid sform nor a qform, so millimetres have no place in it; {remedy}")
    if sform_code and qform_code:
        distance_mm = apart_mm(sform, qform, (*header.get_data_shape(), 1, 1)[:3])
        apart_vox = distance_mm / min(header.get_zooms()[:3])
        if apart_vox > MOST_APART_VOX:
            raise ValueError(
                f"{path}: its sform (code {sform_code}) and its qform (code {qform_code}) put the same voxel up to "
                f"{distance_mm:.3g} mm, or {apart_vox:.3g} voxels, apart, so a box in millimetres could mean either; "
                f"{remedy}"
            )


def _check_dimension(image: sitk.Image) -> None:
    if image.GetDimension() != 3:
        raise ValueError(f"got an image of {image.GetDimension()} dimensions, boxes are for images of 3")
