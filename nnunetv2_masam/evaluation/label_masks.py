"""All structures of two label arrays as pairs of masks, each in as small a box as holds them.

Overlaps of all structures come from one table that counts how often each pair of label values meets, and bounding
boxes of all label values from another pass. Memory holds the two arrays, once more as small numbers, and one box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from nnunetv2_masam.evaluation.lesions import bounding_box
from nnunetv2_masam.evaluation.segmentation import mask_of

if TYPE_CHECKING:
    from nnunetv2_masam.evaluation.labels import Structure


@dataclass(frozen=True)
class MaskPair:
    """One structure.

    Attributes:
        tp: number of voxels in both masks.
        fp: number of voxels in the prediction alone.
        fn: number of voxels in the reference alone.
        reference: mask inside of the structure's box, (D, H, W), or (H, W) for a 2D image; of size 0 if both masks
            are empty.
        prediction: mask inside of the same box.
    """

    tp: int
    fp: int
    fn: int
    reference: np.ndarray
    prediction: np.ndarray


def mask_pairs(
    reference: np.ndarray,
    prediction: np.ndarray,
    structures: Sequence[Structure],
    ignore_label: int | None,
    in_plane: bool,
) -> Iterator[MaskPair]:
    """Go through the structures.

    Args:
        reference: label values, integers, (D, H, W).
        prediction: label values, integers, (D, H, W).
        structures: labels and regions, at least one.
        ignore_label: value of the reference under which voxels do not count.
        in_plane: leave out axis D, which has one slice.
    """
    numbers_reference = _numbers(value for structure in structures for value in structure.reference_values)
    numbers_prediction = _numbers(value for structure in structures for value in structure.prediction_values)
    numbered = _numbered(reference, numbers_reference), _numbered(prediction, numbers_prediction)
    if ignore_label is not None:
        ignored = reference == ignore_label
        for array in numbered:
            array[ignored] = 0
    meeting = _meetings(*numbered, (len(numbers_reference) + 1, len(numbers_prediction) + 1))
    boxes = [ndimage.find_objects(array) for array in numbered]
    for structure in structures:
        rows = sorted({numbers_reference[value] for value in structure.reference_values})
        columns = sorted({numbers_prediction[value] for value in structure.prediction_values})
        tp = int(meeting[np.ix_(rows, columns)].sum())
        fn, fp = int(meeting[rows].sum()) - tp, int(meeting[:, columns].sum()) - tp
        # find_objects knows no number above the largest that occurs
        occupied = [
            found[number - 1]
            for found, chosen in zip(boxes, (rows, columns), strict=True)
            for number in chosen
            if number <= len(found) and found[number - 1]
        ]
        box = bounding_box(occupied) if occupied else (slice(0, 0),) * 3
        masks = [mask_of(array[box], chosen) for array, chosen in zip(numbered, (rows, columns), strict=True)]
        yield MaskPair(tp, fp, fn, *(mask[0] if in_plane and occupied else mask for mask in masks))


def _numbers(values: Iterator[int]) -> dict[int, int]:
    return {value: number for number, value in enumerate(sorted(set(values)), start=1)}


def _numbered(array: np.ndarray, numbers: dict[int, int]) -> np.ndarray:
    """The array with each value replaced by its number, and by 0 where it has none."""
    lowest, highest = min(numbers) - 1, max(numbers) + 1
    table = np.zeros(highest - lowest + 1, np.min_scalar_type(len(numbers)))
    for value, number in numbers.items():
        table[value - lowest] = number
    result = np.empty(array.shape, table.dtype)
    for plane, values in zip(result, array, strict=True):
        plane[:] = table[np.clip(values.astype(np.int64), lowest, highest) - lowest]
    return result


def _meetings(reference: np.ndarray, prediction: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How many voxels each number of the reference shares with each of the prediction."""
    total = np.zeros(shape[0] * shape[1], np.int64)
    for rows, columns in zip(reference, prediction, strict=True):
        together = rows.astype(np.intp).ravel() * shape[1] + columns.ravel()
        total += np.bincount(together, minlength=len(total))
    return total.reshape(shape)
