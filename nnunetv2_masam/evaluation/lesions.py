"""Detection of single lesions: how many of the reference's are found, and how many are invented.

A lesion is a connected component, neighbours by corners included (26 in 3D, 8 in 2D). A predicted lesion can find one
reference lesion and a reference lesion can be found once: pairs whose IoU reaches the threshold are matched so that as
many as possible are found, and among such matchings so that the sum of IoU is largest. Unmatched reference lesions are
missed, unmatched predicted ones are false positives. The default threshold of 0.1 is that of nnDetection (Baumgartner
et al. 2021) and asks whether lesions are found; 0.5 asks for their outline too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage, sparse
from scipy.optimize import linear_sum_assignment

from nnunetv2_masam.evaluation.metrics import DEFAULT_LESION_IOU


class LesionCounts(NamedTuple):
    """Numbers of lesions in the reference, in the prediction, and of matched pairs."""

    reference: int
    prediction: int
    matched: int


def count_lesions(reference: np.ndarray, prediction: np.ndarray, iou: float = DEFAULT_LESION_IOU) -> LesionCounts:
    """Match the lesions of two boolean masks of the same shape.

    Args:
        reference: mask, (D, H, W) or (H, W).
        prediction: mask of the same shape.
        iou: smallest IoU of a pair, in (0, 1].
    """
    neighbours = np.ones((3,) * reference.ndim)
    truth, n_reference = ndimage.label(reference, neighbours)
    found, n_prediction = ndimage.label(prediction, neighbours)
    both = (truth > 0) & (found > 0)
    if not both.any():
        return LesionCounts(n_reference, n_prediction, 0)
    shape = (n_reference + 1, n_prediction + 1)
    shared = sparse.coo_matrix((np.ones(np.count_nonzero(both)), (truth[both], found[both])), shape).tocsr()
    sizes, sizes_found = np.bincount(truth.ravel()), np.bincount(found.ravel())
    rows, columns = shared.nonzero()
    overlap = np.asarray(shared[rows, columns]).ravel()
    score = overlap / (sizes[rows] + sizes_found[columns] - overlap)
    kept = score >= iou
    return LesionCounts(n_reference, n_prediction, _most_pairs(rows[kept], columns[kept], score[kept]))


def _most_pairs(rows: np.ndarray, columns: np.ndarray, score: np.ndarray) -> int:
    """The number of pairs in the largest one-to-one matching; `rows` and `columns` are its candidates."""
    _, row = np.unique(rows, return_inverse=True)
    _, column = np.unique(columns, return_inverse=True)
    if not len(row):
        return 0
    worth = np.zeros((row.max() + 1, column.max() + 1))
    worth[row, column] = 1 + score / (len(score) + 1)  # one more pair outweighs every difference in IoU
    chosen = linear_sum_assignment(worth, maximize=True)
    return int(np.count_nonzero(worth[chosen]))
