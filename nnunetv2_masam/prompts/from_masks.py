"""Boxes around what a reference mask marks, with a margin and a random error as of a person who draws them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import pad_bbox
from scipy import ndimage

from nnunetv2_masam.nnunet_files import foreground_labels
from nnunetv2_masam.prompts import VoxelBox
from nnunetv2_masam.prompts.requests import MaskBoxes


def make_boxes(rule: MaskBoxes, case: str, mask: np.ndarray, spacing_mm: Sequence[float]) -> list[VoxelBox]:
    """The boxes of one case.

    Args:
        rule: which boxes; connected components have 26 neighbours.
        case: its name, from which, with the seed, the random distances follow.
        mask: (D, H, W), true inside.
        spacing_mm: (D, H, W), voxel size.
    """
    rng = np.random.default_rng([rule.seed, zlib.crc32(case.encode())])
    margin_vox = [int(rule.margin_mm / size + 0.5) for size in spacing_mm]
    jitter_vox = [rule.jitter_mm / size for size in spacing_mm]
    components = mask.astype(np.int32)
    if rule.per_lesion:
        components, _ = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    found = [[[side.start, side.stop] for side in sides] for sides in ndimage.find_objects(components)]
    grown = [pad_bbox(box, margin_vox, mask.shape) for box in found]
    return [_moved(box, jitter_vox, mask.shape, rng) for box in grown]


def _moved(box: VoxelBox, jitter_vox: Sequence[float], shape: Sequence[int], rng: np.random.Generator) -> VoxelBox:
    """Every face moved by at most ``jitter_vox``, inside the image, at least one voxel thick."""
    moved = []
    for (low, high), jitter, size in zip(box, jitter_vox, shape, strict=True):
        down, up = np.rint(rng.uniform(-jitter, jitter, 2)).astype(int)
        low = int(np.clip(low + down, 0, size - 1))
        moved.append([low, int(np.clip(high + up, low + 1, size))])
    return moved


def label_values(dataset_json: Mapping[str, Any], labels: Sequence[str]) -> list[int]:
    """The values in a segmentation that names of labels or regions stand for.

    Raises:
        ValueError: a name is not in ``dataset.json``.
    """
    known = foreground_labels(dataset_json)
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise ValueError(f"--label: got {', '.join(unknown)}, the labels are {', '.join(known)}")
    return sorted({int(value) for label in labels for value in np.atleast_1d(known[label])})
