"""Detection of single lesions: counts of found, missed and false positive lesions.

A lesion is a connected component, neighbours by corners included (26 in 3D, 8 in 2D). A predicted lesion can find one
reference lesion and a reference lesion can be found once: pairs whose IoU reaches the threshold are matched so that as
many as possible are found, and among such matchings so that the sum of IoU is largest. Unmatched reference lesions are
missed, unmatched predicted ones are false positives. The default threshold of 0.1 is that of nnDetection (Baumgartner
et al. 2021) and asks whether lesions are found; 0.5 asks for their outline too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from nnunetv2_masam.evaluation.metrics import DEFAULT_LESION_IOU

PANOPTIC_IOU = 0.5  # of Kirillov et al. 2019


class LesionCounts(NamedTuple):
    """Numbers of lesions in the reference, in the prediction, and of matched pairs."""

    reference: int
    prediction: int
    matched: int


class PanopticQuality(NamedTuple):
    """Panoptic quality and its two factors; NaN without any lesion.

    Attributes:
        quality: segmentation times recognition.
        segmentation: mean IoU of the matched pairs; 0 without pairs.
        recognition: F1 of finding lesions.
    """

    quality: float
    segmentation: float
    recognition: float


def count_lesions(reference: np.ndarray, prediction: np.ndarray, iou: float = DEFAULT_LESION_IOU) -> LesionCounts:
    """Match the lesions of two boolean masks of the same shape.

    Args:
        reference: mask, (D, H, W) or (H, W).
        prediction: mask of the same shape.
        iou: smallest IoU of a pair, in (0, 1].
    """
    n_reference, n_prediction, matched = _match(reference, prediction, iou)
    return LesionCounts(n_reference, n_prediction, len(matched))


def panoptic_quality(reference: np.ndarray, prediction: np.ndarray, iou: float = PANOPTIC_IOU) -> PanopticQuality:
    """Panoptic quality of two boolean masks (Kirillov et al. 2019, arXiv:1801.00868), a lesion being an instance.

    Args:
        reference: mask, (D, H, W) or (H, W).
        prediction: mask of the same shape.
        iou: smallest IoU of a pair, in (0, 1]. Kirillov et al. ask for more than 0.5; a pair of exactly 0.5 counts
            here.
    """
    n_reference, n_prediction, matched = _match(reference, prediction, iou)
    if not n_reference + n_prediction:
        return PanopticQuality(float("nan"), float("nan"), float("nan"))
    recognition = 2 * len(matched) / (n_reference + n_prediction)
    segmentation = float(matched.mean()) if len(matched) else 0.0
    return PanopticQuality(segmentation * recognition, segmentation, recognition)


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the lesions of a boolean mask from 1, and return how many there are."""
    # cc3d is faster, but its version 4.1.1 joins parts of 2D masks that background separates
    return ndimage.label(mask, np.ones((3,) * mask.ndim))


def bounding_box(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box that holds all of the given ones, of which there is at least one."""
    sides = zip(*boxes, strict=True)
    return tuple(slice(min(s.start for s in side), max(s.stop for s in side)) for side in sides)


def _match(reference: np.ndarray, prediction: np.ndarray, iou: float) -> tuple[int, int, np.ndarray]:
    """Numbers of lesions in the reference and the prediction, and the IoU of each matched pair."""
    truth, n_reference = components(reference)
    found, n_prediction = components(prediction)
    if not n_reference or not n_prediction:
        return n_reference, n_prediction, np.zeros(0)
    inside = reference | prediction
    truth, found = truth[inside].astype(np.int64), found[inside]
    sizes, sizes_found = np.bincount(truth), np.bincount(found)
    both = (truth > 0) & (found > 0)
    pairs, overlap = np.unique(truth[both] * (n_prediction + 1) + found[both], return_counts=True)
    rows, columns = np.divmod(pairs, n_prediction + 1)
    score = overlap / (sizes[rows] + sizes_found[columns] - overlap)
    kept = score >= iou
    return n_reference, n_prediction, _most_pairs(rows[kept], columns[kept], score[kept])


def _most_pairs(rows: np.ndarray, columns: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Scores of the pairs in the largest one-to-one matching; `rows` and `columns` are its candidates."""
    if not len(score):
        return score
    _, row = np.unique(rows, return_inverse=True)
    _, column = np.unique(columns, return_inverse=True)
    scores = np.zeros((row.max() + 1, column.max() + 1))
    scores[row, column] = score
    worth = (scores > 0) + scores / (len(score) + 1)  # one more pair outweighs every difference in IoU
    chosen = scores[linear_sum_assignment(worth, maximize=True)]
    return chosen[chosen > 0]
