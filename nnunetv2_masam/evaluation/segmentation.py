"""Geometry of segmentation files: voxel sizes, and whether two files lie in the same place.

nnU-Net trains and evaluates by voxel index and only warns where the origin or direction of a label file differs from
its image's. Here such a pair is measured by index where a third file confirms it: the prediction has its image's
header, and the reference is off by little (`MAX_ANGLE_DEG`, a voxel). Everything else would compare different places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# a NIfTI header stores float32, so origins and directions come back rounded
GEOMETRY_TOLERANCE = 1e-3
MAX_ANGLE_DEG = 5.0
PART_TOLERANCE_VOX = 1e-2


def spacing_of(properties: dict[str, Any]) -> list[float]:
    """Voxel size (D, H, W) in mm; (H, W) for a 2D image, whose first number nnU-Net's readers make up."""
    spacing = [float(size) for size in properties["spacing"]]
    stored = properties.get("sitk_stuff", {}).get("spacing", spacing)
    is_2d = len(stored) == 2 or ("sitk_stuff" not in properties and spacing[0] == 999)
    return spacing[1:] if is_2d else spacing


def mask_of(labels: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Mask of the voxels at which a label map has one of the values."""
    return labels == values[0] if len(values) == 1 else np.isin(labels, values)


@dataclass(frozen=True)
class Geometry:
    """Place of a volume. `origin` and `direction` (columns: the array's x, y, z) are None where a format has none."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin: np.ndarray | None = None
    direction: np.ndarray | None = None

    @classmethod
    def of(cls, shape: Sequence[int], properties: Mapping[str, Any]) -> Geometry:
        """Make it from an array's shape (D, H, W) and the properties that nnU-Net's reader returned with it."""
        origin = direction = None
        if "sitk_stuff" in properties:
            origin = np.array(properties["sitk_stuff"]["origin"], dtype=float)
            direction = np.array(properties["sitk_stuff"]["direction"], dtype=float).reshape(len(origin), -1)
        elif "original_affine" in properties.get("nibabel_stuff", {}):
            affine = np.array(properties["nibabel_stuff"]["original_affine"], dtype=float)
            origin = affine[:3, 3]
            with np.errstate(invalid="ignore", divide="ignore"):
                direction = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        return cls(tuple(shape), tuple(float(size) for size in properties["spacing"]), origin, direction)

    def differences(self, other: Geometry) -> list[str]:
        """Describe how this geometry differs from the other, with both values; empty if it is the same."""
        pairs = {
            "shape": (self.shape, other.shape),
            "spacing (mm)": (self.spacing_mm, other.spacing_mm),
            "origin": (self.origin, other.origin),
            "direction": (self.direction, other.direction),
        }
        return [f"{what} {_plain(a)} instead of {_plain(b)}" for what, (a, b) in pairs.items() if not _close(a, b)]

    def is_part_of(self, other: Geometry) -> bool:
        """Whether this is a smaller box of the other's voxels, so that neither has been resampled."""
        if self.origin is None or other.origin is None or not _close(self.direction, other.direction):
            return False
        if not _close(self.spacing_mm, other.spacing_mm) or len(self.origin) != len(self.shape):
            return False
        first = (self.origin - other.origin) @ other.direction / self.spacing_mm[::-1]
        whole = np.rint(first)
        fits = whole.min() >= 0 and (whole + self.shape[::-1] <= other.shape[::-1]).all()
        return bool(fits and np.abs(first - whole).max() < PART_TOLERANCE_VOX)

    def slightly_off(self, other: Geometry) -> bool:
        """Whether only origin and direction differ, by at most a voxel and `MAX_ANGLE_DEG`."""
        if not (_close(self.shape, other.shape) and _close(self.spacing_mm, other.spacing_mm)):
            return False
        if self.origin is None or other.origin is None or self.direction is None or other.direction is None:
            return False
        if self.origin.shape != other.origin.shape:
            return False
        near = np.linalg.norm(self.origin - other.origin) <= np.linalg.norm(self.spacing_mm[-len(self.origin) :])
        cosines = np.sum(self.direction * other.direction, axis=0)
        return bool(near and np.all(cosines >= np.cos(np.deg2rad(MAX_ANGLE_DEG))))


def check_geometry(
    reference: tuple[Path, Geometry],
    prediction: tuple[Path, Geometry],
    image: tuple[Path, Geometry] | None,
) -> str:
    """Check that a prediction lies where its reference does.

    Args:
        reference: file and geometry.
        prediction: file and geometry.
        image: file and geometry of what was segmented, if it is at hand.

    Returns:
        a note where the two are measured by voxel index although the reference's header is slightly off; else "".

    Raises:
        ValueError: naming the file that is off, as far as the image tells which one it is.
    """
    (reference_file, there), (prediction_file, here) = reference, prediction
    off = here.differences(there)
    if not off:
        return ""
    advice = "Predict on the images that the references belong to."
    what = f"has {', '.join(off)} as its reference {reference_file} has."
    if there.is_part_of(here) and (image is None or there.differences(image[1])):
        raise ValueError(
            f"{reference_file}: is cut to a part of the voxels of the prediction {prediction_file}, as 3D Slicer saves "
            f"segmentations ({', '.join(there.differences(here))}). Export it with the image as its reference volume"
        )
    if image is None:
        if here.slightly_off(there):
            advice = "If only the reference's header is off, --images shows it: give the images that were segmented."
        raise ValueError(f"{prediction_file}: {what} {advice}")
    image_file, where = image
    if here.differences(where):
        if there.differences(where):
            what = f"{what} Neither has the geometry of {image_file}."
        raise ValueError(f"{prediction_file}: {what} {advice}")
    off = there.differences(where)
    what = f"{reference_file}: has {', '.join(off)} as its image {image_file} and the prediction have"
    if not there.slightly_off(where):
        raise ValueError(f"{what}. Correct the reference's header if its voxels belong to that image.")
    return what


def _close(ours: Any, theirs: Any) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    a, b = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=GEOMETRY_TOLERANCE)


def _plain(numbers: Any) -> str:
    return "none" if numbers is None else "(" + ", ".join(f"{float(n):g}" for n in np.ravel(numbers)) + ")"
