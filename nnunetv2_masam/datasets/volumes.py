"""One published volume and its label file: read, checked, written as nnU-Net wants them.

Sizes and spacings are (D, H, W), in voxels and mm. Files are read with nibabel: SimpleITK takes a file that was cut off
in the middle for a whole one, and reads NaN as 0.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from nnunetv2_masam.files import shortened
from nnunetv2_masam.images import apart_mm
from nnunetv2_masam.label_files import whole_numbers

MOST_VALUES = 8  # label values in an error
MOST_APART_VOX = 0.1  # of a label file and its image, which is rounding


@dataclass(frozen=True)
class Volume:
    """One case as it was published.

    Attributes:
        case: its name in the converted dataset.
        label: its label file; none for a test case.
    """

    case: str
    image: Path
    label: Path | None = None


@dataclass(frozen=True)
class LabelRule:
    """Label values of a dataset's files, and the labels that they become.

    Attributes:
        values: values that may occur.
        merged: published value → written value, for those that change.
        copy_geometry: give labels the geometry of their image where theirs is another, instead of refusing.
    """

    values: frozenset[int]
    merged: Mapping[int, int]
    copy_geometry: bool = False


@dataclass(frozen=True)
class Found:
    """Result of checking one case.

    Attributes:
        labels: foreground values in what was written.
        problems: what forbids to convert it.
        notes: what the user should know.
    """

    case: str
    size_vox: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    labels: frozenset[int] = frozenset()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def convert_volume(volume: Volume, folder: Path, rule: LabelRule) -> Found:
    """Check one case and write it; a file that needs no change is copied byte by byte.

    Args:
        folder: the dataset being written, with ``imagesTr``, ``labelsTr`` and ``imagesTs``.

    Returns:
        what was found; with problems, the case may not have been written.
    """
    try:
        image, array = _read(volume.image)
        if not np.isfinite(array).all():
            raise ValueError(f"{volume.image}: voxels that are not finite numbers")
        labels: frozenset[int] = frozenset()
        notes: tuple[str, ...] = ()
        if volume.label is not None:
            target = folder / "labelsTr" / f"{volume.case}.nii.gz"
            labels, notes = _convert_label(image, volume.label, target, rule)
    except ValueError as error:
        return Found(volume.case, problems=(str(error),))
    part = "imagesTs" if volume.label is None else "imagesTr"
    _write(image, volume.image, folder / part / f"{volume.case}_0000.nii.gz", changed=False)
    return Found(volume.case, image.shape[::-1], _spacing_mm(image)[::-1], labels, notes=notes)


def _convert_label(image: Any, path: Path, target: Path, rule: LabelRule) -> tuple[frozenset[int], tuple[str, ...]]:
    """The foreground values written, and notes."""
    label, array = _read(path)
    if label.shape != image.shape:
        raise ValueError(f"{path}: {_times(label.shape[::-1])} voxels, its image {_times(image.shape[::-1])}")
    labels, rounded = whole_numbers(array, path)
    found = np.unique(labels).tolist()
    if unexpected := [value for value in found if value not in rule.values]:
        allowed = ", ".join(map(str, sorted(rule.values)))
        raise ValueError(f"{path}: label values {shortened(unexpected, MOST_VALUES)}; the dataset has {allowed}")
    notes = ["values that are not whole were rounded"] if rounded else []
    distance_mm = apart_mm(image.affine, label.affine, image.shape)
    if distance_mm > MOST_APART_VOX * min(_spacing_mm(image)):
        if not rule.copy_geometry:
            raise ValueError(
                f"{path}: lies elsewhere than its image, up to {distance_mm:.3g} mm apart, with spacing "
                f"{_times(_spacing_mm(label)[::-1])} mm, its image {_times(_spacing_mm(image)[::-1])} mm. If voxels "
                "correspond by their index: --copy-geometry"
            )
        notes.append("label file had another geometry and got its image's")
    same_grid = np.allclose(label.affine, image.affine) and np.allclose(_spacing_mm(label), _spacing_mm(image))
    changed = bool(rounded) or not same_grid or any(value in rule.merged for value in found)
    if changed:
        merged = labels.astype(np.uint8)
        for value, becomes in rule.merged.items():
            merged[labels == value] = becomes
        label = nibabel.Nifti1Image(merged, image.affine, image.header)  # both its transforms and their codes
        label.set_data_dtype(np.uint8)
    _write(label, path, target, changed)
    foreground = frozenset(rule.merged.get(value, value) for value in found) - {0}
    if not foreground:
        notes.append("no foreground in the label file")
    return foreground, tuple(notes)


def _spacing_mm(image: Any) -> tuple[float, ...]:
    return tuple(float(size) for size in image.header.get_zooms())


def _read(path: Path) -> tuple[Any, np.ndarray]:
    """A volume and its voxels in the file's axis order.

    Raises:
        ValueError: if it cannot be read or is no three-dimensional volume of single numbers.
    """
    try:
        image: Any = nibabel.load(path)
        array = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    if array.ndim != 3 or array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: expected a volume with one number a voxel, got {_times(array.shape)} {array.dtype}")
    return image, array


def _write(image: Any, source: Path, target: Path, changed: bool) -> None:
    if changed or not source.name.lower().endswith(".nii.gz"):
        nibabel.save(image, target)
    else:
        shutil.copyfile(source, target)


def _times(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)
