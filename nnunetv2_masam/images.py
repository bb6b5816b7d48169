"""Images read and written by SimpleITK, with errors that name the file, and without the one that it keeps to itself."""

from __future__ import annotations

import errno
import gzip
import zlib
from pathlib import Path

import SimpleITK as sitk

_NIFTI_HEADER_BYTES = 352


def read_image(path: Path) -> sitk.Image:
    """Read an image.

    Raises:
        ValueError: it cannot be read; the message names it.
    """
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ValueError(f"{path}: cannot be read as an image ({str(error).strip().splitlines()[-1]})") from error


def write_image(image: sitk.Image, path: Path) -> None:
    """Write an image, compressed where the format allows it.

    Raises:
        OSError: it could not be written. SimpleITK says nothing of a full disk for NIfTI, and leaves a file cut off.
    """
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise OSError(f"{path}: could not be written ({str(error).strip().splitlines()[-1]})") from error
    if path.name.endswith((".nii", ".nii.gz")) and not _is_whole_nifti(path, image):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def _is_whole_nifti(path: Path, image: sitk.Image) -> bool:
    voxel_bytes = image.GetSizeOfPixelComponent() * image.GetNumberOfComponentsPerPixel()
    found = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while piece := file.read(1 << 20):
                found += len(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
    return found >= _NIFTI_HEADER_BYTES + voxel_bytes * image.GetNumberOfPixels()
