"""Read the voxels of a stack, each slice with its own rescale slope and intercept, as a SimpleITK image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunetv2_masam.dicom import dicom_module
from nnunetv2_masam.dicom.headers import Slice
from nnunetv2_masam.dicom.stacks import Stack
from nnunetv2_masam.images import read_image


def read_volume(stack: Stack) -> sitk.Image:
    """The image of a stack: float32, or 16-bit integers where the values are such, else 32-bit ones.

    Raises:
        ValueError: voxels of a file cannot be read; the message names it.
    """
    voxels = np.stack(list(read_planes(stack.slices)))  # (D, H, W)
    limits = np.iinfo(np.int16)
    short = limits.min <= voxels.min() and voxels.max() <= limits.max
    kind = np.float32 if voxels.dtype.kind == "f" else np.int16 if short else np.int32
    return image_of(voxels.astype(kind), stack.grid[0])


def read_planes(slices: Sequence[Slice]) -> Iterator[np.ndarray]:
    """The values (H, W) of each slice.

    SimpleITK gives a whole series the first file's pixel type, so that fractions of other slices are cut, and ignores
    the slopes that frames of a multi-frame file have of their own: files are read one by one, frames by pydicom.

    Raises:
        ValueError: voxels of a file cannot be read; the message names it.
    """
    frames: dict[Path, np.ndarray] = {}
    for piece in slices:
        try:
            if piece.frame is None:
                plane = sitk.GetArrayFromImage(read_image(piece.path))
                yield plane.reshape(piece.size_vox)
                continue
            if piece.path not in frames:
                stored = dicom_module("pydicom").dcmread(piece.path).pixel_array
                frames = {piece.path: stored.reshape(-1, *piece.size_vox)}
        except (ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
            raise ValueError(f"has voxels that cannot be read ({piece.path}: {error})") from error
        stored = frames[piece.path][piece.frame]
        if float(piece.slope).is_integer() and float(piece.intercept).is_integer():
            yield stored.astype(np.int32) * int(piece.slope) + int(piece.intercept)
        else:
            yield stored * piece.slope + piece.intercept


def image_of(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """An image from an array (D, H, W) and the affine of its indices, in mm, LPS."""
    image = sitk.GetImageFromArray(array)
    axes = affine[:3, 2::-1]  # x, y, z of SimpleITK
    spacing = np.linalg.norm(axes, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def grid_of(image: sitk.Image) -> tuple[np.ndarray, tuple[int, ...]]:
    """The affine (4, 4) of an image's indices (slice, row, column), in mm, LPS, and its shape (D, H, W)."""
    affine = np.eye(4)
    axes = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, :3], affine[:3, 3] = axes[:, ::-1], image.GetOrigin()
    return affine, image.GetSize()[::-1]


def on_grid(array: np.ndarray, affine: np.ndarray, grid: tuple[np.ndarray, Sequence[int]], what: str) -> Any:
    """Put an array on another grid of the same voxels, as highdicom's volume: axes exchanged, flipped, padded with 0.

    Args:
        array, affine: (D, H, W), or (D, H, W, K) with channels.
        grid: affine and shape (D, H, W).
        what: what the array is, for the error.

    Raises:
        ValueError: the grids have voxels at different places, or the array reaches beyond the grid.
    """
    highdicom = dicom_module("highdicom")
    corners = np.indices((2, 2, 2)).reshape(3, -1) * np.reshape(array.shape[:3], (3, 1)) - 0.5
    reached = np.linalg.solve(grid[0], affine @ np.vstack([corners, np.ones(8)]))[:3].T + 0.5
    if reached.min() < -0.1 or (reached - grid[1]).max() > 0.1:
        raise ValueError(f"{what}: has voxels at other places than its source or reference (beyond its borders)")
    channels = {"SegmentNumber": list(range(1, array.shape[3] + 1))} if array.ndim == 4 else None
    tolerance_mm = 1e-2 * float(np.linalg.norm(grid[0][:3, :3], axis=0).min())
    try:
        volume = highdicom.Volume(array, affine, "PATIENT", channels=channels)
        target = highdicom.VolumeGeometry(grid[0], tuple(grid[1]), "PATIENT")
        return volume.match_geometry(target, tol=tolerance_mm)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{what}: has voxels at other places than its source or reference ({error})") from error
