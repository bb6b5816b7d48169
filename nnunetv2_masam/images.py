"""Images: nnU-Net's readers, and files read and written by SimpleITK, with errors that name the file."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import math
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

if TYPE_CHECKING:
    from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

_NIFTI_HEADER_BYTES = 352
_NIFTI_MOST_VOXELS = 2**15 - 1  # along an axis: the header has two bytes for it
_COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)


def find_reader(
    dataset_json: Mapping[str, Any], plans: Mapping[str, Any] | None, example: Path
) -> type[BaseReaderWriter]:
    """nnU-Net's reader of a dataset's segmentations: the plans' one, else the one that ``dataset.json`` leads to.

    Args:
        dataset_json: content of the dataset's ``dataset.json``.
        plans: content of the plans, if there are any.
        example: one of the segmentations, which nnU-Net tries its readers on.

    Raises:
        ValueError: no reader can read the example; the message names it.
    """
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    check_name(example)
    try:
        if plans is not None and "image_reader_writer" in plans:
            reader: type[BaseReaderWriter] = PlansManager(dict(plans)).image_reader_writer_class
            return reader
        with contextlib.redirect_stderr(io.StringIO()):  # it prints a traceback for each reader that cannot
            found: type[BaseReaderWriter] = determine_reader_writer_from_dataset_json(
                dict(dataset_json), str(example), verbose=False
            )
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"{example}: nnU-Net has no reader for it ({_last_line(error)})") from error
    return found


def check_name(path: Path) -> None:
    """Refuse a name whose bytes are none in the platform's encoding; ITK would end the whole process at it.

    Raises:
        ValueError: it is such a name.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "replace").decode()
        raise ValueError(
            f"{shown}: the file's name is not valid in the encoding {sys.getfilesystemencoding()}. "
            "Set PYTHONUTF8=1 if names are UTF-8, or rename the file."
        ) from None


def unreadable(path: Path, error: Exception) -> ValueError:
    """The error of a file that a reader could not read, with the last line of the reader's own message."""
    return ValueError(f"{path}: cannot be read ({_last_line(error)})")


def read_header(path: Path) -> sitk.ImageFileReader:
    """Header of a file as ITK reads it: size, kind of value, and the format's own fields.

    Raises:
        RuntimeError: ITK cannot read it.
    """
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def check_scalar(path: Path) -> None:
    """Refuse an image that has not one real number per voxel, or several time points.

    nnU-Net takes the components of an RGB or vector image for slices, and drops imaginary parts. A file that ITK cannot
    read is left to the reader that can.

    Raises:
        ValueError: naming the file and what it holds.
    """
    try:
        header = read_header(path)
    except RuntimeError:
        return
    if header.GetPixelID() in _COMPLEX:
        what = "complex numbers"
    elif (count := header.GetNumberOfComponents()) > 1:
        what = f"{count} values per voxel, as in an RGB or vector image"
    elif any(size > 1 for size in header.GetSize()[3:]):
        what = f"{' x '.join(map(str, header.GetSize()))} voxels, as in a series of time points"
    else:
        return
    raise ValueError(
        f"{path}: has {what}; expected one real number per voxel of one volume. Save each channel or time point in a "
        "file of its own"
    )


def read_image(path: Path) -> sitk.Image:
    """Read an image of one real number per voxel; a single time point becomes the volume that it is.

    Raises:
        ValueError: it cannot be read, or holds something else; the message names it.
    """
    check_name(path)
    check_scalar(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        sheared = ". Resample it to axes at right angles" if "orthonormal" in str(error) else ""
        raise ValueError(f"{path}: cannot be read as an image ({_last_line(error)}){sheared}") from error
    while image.GetDimension() > 3:
        image = sitk.Extract(image, [*image.GetSize()[:-1], 0])
    return image


def write_image(image: sitk.Image, path: Path) -> None:
    """Write an image, compressed where the format allows it.

    Raises:
        ValueError: the format cannot hold so many voxels along an axis.
        OSError: it could not be written. SimpleITK says nothing of a full disk for NIfTI, and leaves a file cut off.
    """
    if path.name.endswith((".nii", ".nii.gz")) and max(image.GetSize()) > _NIFTI_MOST_VOXELS:
        raise ValueError(
            f"{path.name}: the image has {' x '.join(map(str, image.GetSize()))} voxels, expected at most "
            f"{_NIFTI_MOST_VOXELS} along an axis of a NIfTI file. Make it smaller, or use another format such as .nrrd"
        )
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(f"{path}: could not be written ({_last_line(error)})") from error
    if path.name.endswith((".nii", ".nii.gz")) and not is_whole_nifti(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def _last_line(error: Exception) -> str:
    """The last line of an error's message, which is where ITK says what happened; its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def is_whole_nifti(path: Path) -> bool:
    """Whether a NIfTI file holds all voxels of its header; on a full disk ITK cuts files short without an error."""
    found = 0
    try:
        header = read_header(path)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while piece := file.read(1 << 20):
                found += len(piece)
    except (RuntimeError, EOFError, gzip.BadGzipFile, zlib.error):
        return False
    voxel_bytes = sitk.Image([1, 1], header.GetPixelID(), header.GetNumberOfComponents()).GetSizeOfPixelComponent()
    voxels = math.prod(header.GetSize()) * header.GetNumberOfComponents()
    return found >= _NIFTI_HEADER_BYTES + voxel_bytes * voxels
