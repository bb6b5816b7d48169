"""``dicom labels``: convert DICOM SEG to label images, on the grid of the segments, of a source or of an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunetv2_masam.dicom import dicom_module
from nnunetv2_masam.dicom.headers import Slice, find, read_slices, scan_folder
from nnunetv2_masam.dicom.requests import LabelsRequest
from nnunetv2_masam.dicom.stacks import POSITION_TOLERANCE_VOX, SAME_POSITION_MM, Stack, find_stacks, moved_in_plane
from nnunetv2_masam.dicom.volumes import grid_of, image_of, on_grid
from nnunetv2_masam.files import atomic_folder, refuse_existing
from nnunetv2_masam.images import write_image


def read_segmentation(path: Path, like: sitk.Image | None = None) -> tuple[sitk.Image, dict[int, str]]:
    """Read a DICOM SEG as a label image.

    Args:
        path: the file; binary or a label map, or fractional with only 0 and the largest value.
        like: an image whose grid is taken, with background outside the file's frames. None: that of the frames, which
            ends with the first and last slice that is not empty.

    Returns:
        the image, whose values are segment numbers, and the segments' names.

    Raises:
        ValueError: it is no DICOM SEG, its segments overlap or are fractional, or the grids differ.
    """
    pydicom, highdicom = dicom_module("pydicom"), dicom_module("highdicom")
    grid = None if like is None else grid_of(like)
    try:
        seg = highdicom.seg.segread(path)
        labels, affine = _stacked(seg, list(read_slices(path, seg)), None if grid is None else grid[0])
    except (pydicom.errors.InvalidDicomError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{path}: cannot be read as labels of a DICOM SEG ({error})") from error
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    if grid is not None:
        labels, affine = on_grid(labels, affine, grid, str(path)), grid[0]
    return image_of(labels, affine), names


def _stacked(seg: Any, frames: Sequence[Slice], target: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Labels (D, H, W) with each frame in its place, and their affine; frames of empty slices may be missing."""
    orientation, spacing = frames[0].orientation, frames[0].spacing_mm
    if orientation is None or spacing is None or len({frame.orientation for frame in frames}) > 1:
        raise ValueError("its frames have no spacing or no common orientation")
    along_row, along_column = np.reshape(orientation, (2, 3))
    normal = np.cross(along_row, along_column)
    positions = np.array([frame.position_mm for frame in frames], float)
    order = np.argsort(positions @ normal)
    heights = (positions - positions[order[0]]) @ normal
    gaps = np.diff(heights[order])
    gaps = gaps[gaps > SAME_POSITION_MM]
    step = frames[0].thickness_mm
    if target is not None:
        step = float(np.abs(normal @ target[:3, :3]).max())
    elif len(gaps) and np.abs(gaps / step - np.rint(gaps / step)).max() > POSITION_TOLERANCE_VOX:
        step = float(gaps.min())
    places = np.rint(heights / step).astype(int)
    if np.abs(heights / step - places).max() > 2 * POSITION_TOLERANCE_VOX:
        raise ValueError(f"its frames are not multiples of {step:.4g} mm apart, as slices of its grid or reference")
    if reason := moved_in_plane(positions[order] - positions[order[0]], normal, min(spacing)):
        raise ValueError(f"it {reason}")
    kind = np.uint8 if len(seg.SegmentSequence) < 256 else np.uint16
    labels = np.zeros((places.max() + 1, *frames[0].size_vox), kind)
    for number, place in enumerate(places):
        _add_frame(seg, number, labels[place])
    affine = np.eye(4)
    axes = [normal * step, along_column * spacing[0], along_row * spacing[1], positions[order[0]]]
    affine[:3] = np.stack(axes, axis=1)
    return labels, affine


def _add_frame(seg: Any, number: int, plane: np.ndarray) -> None:
    """Add a frame to the plane (H, W) of labels that it lies in."""
    stored = seg.get_stored_frame(number + 1)
    if seg.SegmentationType == "LABELMAP":
        plane[stored > 0] = stored[stored > 0]
        return
    if seg.SegmentationType == "FRACTIONAL" and not np.isin(stored, (0, seg.MaximumFractionalValue)).all():
        raise ValueError("it holds probabilities, expected masks or a label map")
    if plane[stored > 0].any():
        raise ValueError("its segments overlap, which a label image cannot hold")
    plane[stored > 0] = int(find(seg, number, "ReferencedSegmentNumber"))


def write_labels(request: LabelsRequest) -> dict[str, dict[int, str]]:
    """Write a label image for each DICOM SEG, or none at all.

    Returns:
        names of segments by number, by name of the written file.

    Raises:
        ValueError: a file is no DICOM SEG, two would get one name, or a source or image is missing.
    """
    refuse_existing(request.output)
    files = [file for path in request.segs for file in (sorted(path.rglob("*.dcm")) if path.is_dir() else [path])]
    if not files:
        raise ValueError(f"{', '.join(map(str, request.segs))}: no *.dcm, expected DICOM SEG files")
    found = find_stacks(scan_folder(request.source).values()) if request.source else ()
    stacks = {piece.instance: stack for stack in found if stack.affine is not None for piece in stack.slices}
    written: dict[str, dict[int, str]] = {}
    with atomic_folder(request.output) as folder:
        for file in files:
            name, like = _target(file, request, stacks)
            name += request.file_ending
            if name in written:
                raise ValueError(f"{file}: is a second file for {name}, expected one DICOM SEG for each image")
            image, written[name] = read_segmentation(file, like)
            write_image(image, folder / name)
    return written


def _target(file: Path, request: LabelsRequest, stacks: dict[str, Stack]) -> tuple[str, sitk.Image | None]:
    """Name and grid of the label image of a file."""
    if request.source is None:
        return file.stem, None
    header = dicom_module("pydicom").dcmread(file, stop_before_pixels=True)
    series = header.get("ReferencedSeriesSequence", [])
    uids = {item.ReferencedSOPInstanceUID for one in series for item in one.ReferencedInstanceSequence}
    named = {stacks[uid].case: stacks[uid] for uid in uids & stacks.keys()}
    if len(named) != 1:
        raise ValueError(f"{file}: refers to {len(named)} usable images in {request.source}, expected 1")
    case, stack = named.popitem()
    affine, shape = stack.grid
    return case, image_of(np.zeros(shape, np.uint8), affine)
