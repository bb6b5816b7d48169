"""Read DICOM SEG as label images, on the grid of the segments or of an image, with the values of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunetv2_masam.dicom import SEG_ENDING, dicom_module
from nnunetv2_masam.dicom.headers import find
from nnunetv2_masam.dicom.stacks import POSITION_TOLERANCE_VOX
from nnunetv2_masam.dicom.volumes import grid_of, image_of, on_grid
from nnunetv2_masam.label_files import plain_name
from nnunetv2_masam.nnunet_files import foreground_labels


def is_seg(path: Path) -> bool:
    """Whether a file is a DICOM SEG, by its name."""
    return path.name.lower().endswith(SEG_ENDING)


def read_segmentation(
    path: Path, like: sitk.Image | None = None, dataset_json: Mapping[str, Any] | None = None
) -> tuple[sitk.Image, dict[int, str]]:
    """Read a DICOM SEG as a label image.

    Args:
        path: the file; binary or a label map, or fractional with only 0 and the largest value.
        like: an image whose grid is taken, with background outside the file's frames. None: that of the frames, which
            ends with the first and last slice that is not empty.
        dataset_json: content of a ``dataset.json``. Segments get the values of the labels or regions that have their
            names, but for case, underscores, hyphens and blanks. None: values are segment numbers.

    Returns:
        the image, and the segments' names by number.

    Raises:
        ValueError: it is no DICOM SEG, its segments overlap, are fractional or no labels of the dataset, or the grids
            differ.
    """
    try:
        seg = dicom_module("highdicom").seg.segread(path)
        names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence if item.SegmentNumber}
        volume = _volume(seg, names, dataset_json)
    except (dicom_module("pydicom.errors").InvalidDicomError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{path}: cannot be read as labels of a DICOM SEG ({error})") from error
    grid = None if like is None else grid_of(like)
    affine = volume.affine
    if len(volume.array) == 1:  # highdicom takes 1 mm where the file has no distance of slices
        normal = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
        own = float(find(seg, 0, "SpacingBetweenSlices", "SliceThickness") or 1)
        affine[:3, 0] = normal * (own if grid is None else np.abs(normal @ grid[0][:3, :3]).max())
    if grid is None:
        return image_of(volume.array, affine), names
    return image_of(on_grid(volume.array, affine, grid, str(path)).array, grid[0]), names


def _volume(seg: Any, names: Mapping[int, str], dataset_json: Mapping[str, Any] | None) -> Any:
    """The volume of segment numbers, or a dataset's label values, (D, H, W); regions are painted in nnU-Net's order."""
    if dataset_json is None:
        return seg.get_volume(combine_segments=True, rtol=POSITION_TOLERANCE_VOX)
    values = {plain_name(name[:64]): np.atleast_1d(value).astype(int) for name, value in dataset_json["labels"].items()}
    if unknown := [name for name in names.values() if plain_name(name) not in values]:
        raise ValueError(f"its segments {unknown} are none of dataset.json's labels {list(dataset_json['labels'])}")
    painted = {name: value[0] for name, value in values.items()}
    order = dataset_json.get("regions_class_order")
    if not order:
        volume = seg.get_volume(combine_segments=True, rtol=POSITION_TOLERANCE_VOX)
        lookup = np.zeros(max(names) + 1, np.min_scalar_type(max(painted.values())))
        lookup[list(names)] = [painted[plain_name(name)] for name in names.values()]
        return volume.with_array(lookup[volume.array])
    painted |= zip((plain_name(name[:64]) for name in foreground_labels(dataset_json)), order, strict=True)
    masks: dict[str, np.ndarray] = {}
    for number, name in names.items():
        volume = seg.get_volume(segment_numbers=[number], combine_segments=True, rtol=POSITION_TOLERANCE_VOX)
        masks[plain_name(name)] = masks.get(plain_name(name), False) | (volume.array > 0)
    labels = np.zeros(volume.shape, np.min_scalar_type(max(painted.values())))
    for name in filter(masks.__contains__, values):
        labels[masks[name]] = painted[name]
    if any((np.isin(labels, values[name]) != mask).any() for name, mask in masks.items()):
        raise ValueError("its segments overlap otherwise than the regions of dataset.json do")
    return volume.with_array(labels)
