"""Read label files: every value is a whole number that ``dataset.json`` defines, or an error names file and value.

Every command that reads labels reads them here. nibabel scales a float array that is saved under an integer header, so
a label 1 may be stored as 0.99608 or 1.0000153. Such values are rounded and the caller is told; nnU-Net itself cuts
0.99608 to 0 and trains without the label.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from nnunetv2_masam.files import shortened
from nnunetv2_masam.images import check_name, check_scalar, read_header, read_image, unreadable

if TYPE_CHECKING:
    from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

ROUNDING = 0.01  # distance from a whole number that is rounding whatever the header says
LARGEST = 2**31 - 1
HOW = "a label file that was interpolated, averaged or scaled, or a probability map, holds such values"
_SEGMENT_NAME = re.compile(r"Segment\d+_Name$")
REPAIR = "resample label files with nearest neighbours, and save them with an integer type"


@dataclass(frozen=True)
class Labels:
    """Contents of a label file.

    Attributes:
        labels: (D, H, W), integers of the smaller type that holds them, uint8 or int32.
        properties: of the reader, with the geometry.
        note: what a user must know about the values, with the file's name; "" if nothing.
    """

    labels: np.ndarray
    properties: dict[str, Any]
    note: str = ""


def read_labels(path: Path, reader: type[BaseReaderWriter], allowed: Collection[int] | None = None) -> Labels:
    """Read a label file with nnU-Net's reader.

    Args:
        path: the file.
        reader: nnU-Net's class for it; see :func:`~nnunetv2_masam.images.find_reader`.
        allowed: the values that it may hold; None allows every whole number.

    Raises:
        ValueError: naming the file, where it cannot be read, is no image of single numbers, or holds something else
            than allowed whole numbers.
    """
    check_name(path)
    check_scalar(path)
    try:
        array, properties = reader().read_seg(str(path))
    except Exception as error:  # each reader has its own family of errors for a broken file
        raise unreadable(path, error) from error
    if len(array) != 1:
        raise ValueError(f"{path}: has {len(array)} channels or time points, so it is no segmentation of one image")
    labels, note = whole_numbers(array[0], path, allowed)
    return Labels(labels, properties, note)


def read_label_image(path: Path, allowed: Collection[int] | None = None) -> tuple[sitk.Image, str]:
    """Read a label file with SimpleITK, for those who need its place in the world.

    Returns:
        an image of integers, and a note where values were rounded, else "".

    Raises:
        ValueError: as :func:`read_labels`.
    """
    image = read_image(path)
    labels, note = whole_numbers(sitk.GetArrayViewFromImage(image), path, allowed)
    found = sitk.GetImageFromArray(labels)
    found.CopyInformation(image)
    return found, note


def whole_numbers(array: np.ndarray, path: Path, allowed: Collection[int] | None = None) -> tuple[np.ndarray, str]:
    """The labels in an array that was read from a file.

    Args:
        array: of any shape and type.
        path: the file, for errors, and for the step of its scaled values.
        allowed: the values that it may hold; None allows every whole number.

    Returns:
        integers of the smallest type that holds them, and a note where values were rounded, else "".

    Raises:
        ValueError: naming the file and a value, where one is neither whole within rounding nor allowed.
    """
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: holds values of type {array.dtype}, expected labels. Save it with an integer type")
    labels, note = _rounded(array, path) if array.dtype.kind == "f" else (array, "")
    ends = (0, 0) if labels.size == 0 else (int(labels.min()), int(labels.max()))
    if max(map(abs, ends)) > LARGEST:
        far = max(ends, key=abs)
        raise ValueError(f"{path}: holds {far}, expected labels, whole numbers up to {LARGEST}. Correct the file")
    labels = labels.astype(np.uint8 if ends[0] >= 0 and ends[1] <= 255 else np.int32)
    if allowed is not None:
        check_defined(path, labels, allowed)
    return labels, note


def check_defined(path: Path, labels: np.ndarray, allowed: Collection[int]) -> None:
    """Refuse integer labels that ``dataset.json`` does not define.

    Raises:
        ValueError: naming the file and the values.
    """
    import pandas as pd

    if undefined := sorted({int(value) for value in pd.unique(labels.ravel(order="K"))} - set(allowed)):
        raise ValueError(
            f"{path}: holds label values [{shortened(undefined, 8)}], which dataset.json does not define (it has "
            f"{sorted(allowed)}). Correct the file, or the dataset.json"
        )


def check_segment_names(path: Path, labels: Mapping[str, Any]) -> None:
    """Refuse a file whose own names of segments give a label of ``dataset.json`` another number.

    3D Slicer and VolView number segments in the order in which they were made, and write names and numbers into the
    header of a ``.nrrd`` file. nnU-Net reads the numbers only.

    Args:
        path: the file.
        labels: number, or numbers of a region, by name.

    Raises:
        ValueError: naming the file, the label and both numbers.
    """
    if not path.name.endswith((".nrrd", ".nhdr")):
        return
    try:
        header = read_header(path)
    except RuntimeError:  # it is named as unreadable where its labels are read
        return
    numbers = {name.lower(): int(np.ravel(value)[0]) for name, value in labels.items() if np.size(value) == 1}
    for key in filter(_SEGMENT_NAME.match, header.GetMetaDataKeys()):
        name, number = header.GetMetaData(key), key.replace("_Name", "_LabelValue")
        value = header.GetMetaData(number) if header.HasMetaDataKey(number) else ""
        expected = numbers.get(name.lower())
        if expected is not None and value.isdecimal() and int(value) != expected:
            raise ValueError(
                f"{path}: its header names the segment {name!r} and gives it the value {value}, dataset.json has "
                f"{expected}. Change the numbers of the file, or export it with a table of these labels"
            )


def defined_values(dataset_json: Mapping[str, Any]) -> frozenset[int]:
    """Every value that ``dataset.json`` has a name for: background, labels, those of regions, and the ignore label."""
    return frozenset({0, *(int(v) for value in dataset_json["labels"].values() for v in np.atleast_1d(value))})


def plain_name(name: str) -> str:
    """A label's name without what people write differently: case, underscores, hyphens, spaces."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _rounded(array: np.ndarray, path: Path) -> tuple[np.ndarray, str]:
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: holds values that are not finite numbers, expected labels. Correct the file")
    labels = np.rint(array)
    if np.array_equal(labels, array):  # the usual case, without another array of differences
        return labels, ""
    off = np.abs(array - labels)
    worst = float(off.max())
    value = float(array.ravel()[off.argmax()])
    if worst > ROUNDING and worst > _half_step(path):
        raise ValueError(f"{path}: holds {value:g}, expected whole numbers; {HOW}. Remedy: {REPAIR}")
    return labels, (
        f"{path}: {value:.6g} and other values that are not whole were rounded. Such values come about where a float "
        "array is saved under an integer header, as nibabel allows; nnU-Net cuts values off, so that 0.996 is trained "
        "as 0. Save the file with an integer type"
    )


def _half_step(path: Path) -> float:
    """Half the step between the values that a NIfTI file's scaled integers can take, if labels stay apart by it."""
    try:
        step = abs(float(read_header(path).GetMetaData("scl_slope")))
    except (RuntimeError, ValueError):  # another format, or no header of ITK's
        return 0.0
    return step * 0.5001 if step < 1 else 0.0
