"""Detection and outline of single lesions.

A lesion is a connected component, neighbours by corners included (26 in 3D, 8 in 2D).

**Counts.** A predicted lesion can find one reference lesion and a reference lesion can be found once: pairs whose IoU
reaches the threshold are matched so that as many as possible are found, and among such matchings so that the sum of IoU
is largest. Unmatched reference lesions are missed, unmatched predicted ones are false positives. The default threshold
of 0.1 is that of nnDetection (Baumgartner et al. 2021) and asks whether lesions are found; 0.5 asks for their outline
too.

**Dice and HD95 of each lesion**, averaged over lesions, follow the rule of the BraTS challenges of 2023
(https://github.com/rachitsaluja/BraTS-2023-Metrics), step by step:

1. Reference lesions that touch after a dilation (a 3 × 3 × 3 neighbourhood without its corners, repeated) are one
   lesion. Predicted lesions are connected components, corners included, and are not merged.
2. All predicted lesions that touch the dilated reference lesion are compared with it, as one mask.
3. Reference lesions that are not larger than a minimum volume do not count, and what found them is no false positive.
   False positives count at every size.
4. A missed lesion and a false positive have a Dice of 0 and an HD95 of a penalty.
5. The score is the mean over the reference lesions that count and the false positives.

The presets take the penalty of that script, 374 mm, the diagonal of the BraTS image. The package brats-evaluation
0.0.10 (2025) follows other rules: lesions are matched one to one without dilation, and 373 mm stands for a missed
structure or file. Where nothing counts on either side, the value is NaN here, as for every other metric, and Dice 1
and HD95 0 in the script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from nnunetv2_masam.evaluation.metrics import DEFAULT_LESION_IOU
from nnunetv2_masam.evaluation.surfaces import surface_distances

PANOPTIC_IOU = 0.5  # of Kirillov et al. 2019


def count_lesions(
    reference: np.ndarray, prediction: np.ndarray, iou: float = DEFAULT_LESION_IOU
) -> tuple[int, int, int]:
    """Count the lesions of the reference and of the prediction, and how many match.

    Args:
        reference: mask, (D, H, W) or (H, W).
        prediction: mask of the same shape.
        iou: smallest IoU of a pair, in (0, 1].
    """
    n_reference, n_prediction, matched = _match(reference, prediction, iou)
    return n_reference, n_prediction, len(matched)


def panoptic_quality(
    reference: np.ndarray, prediction: np.ndarray, iou: float = PANOPTIC_IOU
) -> tuple[float, float, float]:
    """Panoptic quality of two boolean masks (Kirillov et al. 2019, arXiv:1801.00868), a lesion being an instance.

    Args:
        reference: mask, (D, H, W) or (H, W).
        prediction: mask of the same shape.
        iou: smallest IoU of a pair, in (0, 1]. Kirillov et al. ask for more than 0.5; a pair of exactly 0.5 counts
            here.

    Returns:
        the quality and its two factors, the mean IoU of matched pairs (0 without pairs) and the F1 of finding lesions;
        NaN without any lesion.
    """
    n_reference, n_prediction, matched = _match(reference, prediction, iou)
    if not n_reference + n_prediction:
        return math.nan, math.nan, math.nan
    recognition = 2 * len(matched) / (n_reference + n_prediction)
    segmentation = float(matched.mean()) if len(matched) else 0.0
    return segmentation * recognition, segmentation, recognition


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


@dataclass(frozen=True)
class LesionRule:
    """Rule of what counts as a lesion and what an error costs.

    Attributes:
        dilations: how often the reference is dilated before its lesions are told apart.
        minimum_mm3: reference lesions up to this volume do not count.
        penalty_mm: HD95 of a missed lesion and of a false positive; the image diagonal if not given.
    """

    dilations: int = 0
    minimum_mm3: float = 0.0
    penalty_mm: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("dilations", self.dilations), ("minimum_mm3", self.minimum_mm3)):
            if value < 0:
                raise ValueError(f"{name} is {value}; expected 0 or more")


BRATS_PENALTY_MM = 374.0
LESION_RULES = {
    "every": LesionRule(),
    "brats-gli": LesionRule(3, 50, BRATS_PENALTY_MM),
    "brats-ssa": LesionRule(3, 50, BRATS_PENALTY_MM),
    "brats-ped": LesionRule(3, 50, BRATS_PENALTY_MM),
    "brats-men": LesionRule(1, 50, BRATS_PENALTY_MM),
    "brats-met": LesionRule(1, 2, BRATS_PENALTY_MM),
}


def lesion_wise(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    rule: LesionRule,
    diagonal_mm: float,
) -> tuple[float, float]:
    """Return the mean Dice and HD95 in mm of the lesions that count and the false positives; NaN without any.

    Args:
        reference: boolean mask, (D, H, W) or (H, W).
        prediction: boolean mask of the same shape.
        spacing_mm: voxel size, one number for each axis. A slice counts as 1 mm thick.
        rule: from `LESION_RULES`, or one's own.
        diagonal_mm: of the whole image: the penalty where the rule has none.
    """
    lesions, false_positives = lesions_of(reference, prediction, spacing_mm, rule)
    missed = 0.0, diagonal_mm if rule.penalty_mm is None else rule.penalty_mm
    values = [found or missed for volume_mm3, found in lesions if volume_mm3 > rule.minimum_mm3]
    values += [missed] * false_positives
    dice, hd95_mm = np.mean(values, axis=0) if values else (math.nan, math.nan)
    return float(dice), float(hd95_mm)


def lesions_of(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], rule: LesionRule
) -> tuple[list[tuple[float, tuple[float, float] | None]], int]:
    """Volume in mm³ of each reference lesion, with its Dice and HD95 or None if missed; number of false positives."""
    voxel_mm3 = math.prod(float(size) for size in spacing_mm)
    # dilations must not end at the edge of a crop
    reference, prediction = (np.pad(mask, rule.dilations + 1) for mask in (reference, prediction))
    neighbours = ndimage.generate_binary_structure(reference.ndim, 2)
    zones, _ = components(_dilated(reference, neighbours, rule.dilations))
    predicted, n_predicted = components(prediction)
    boxes_predicted = ndimage.find_objects(predicted)
    found_any = np.zeros(n_predicted + 1, bool)
    lesions: list[tuple[float, tuple[float, float] | None]] = []
    for number, box in enumerate(ndimage.find_objects(zones), start=1):
        lesion = reference[box] & (zones[box] == number)
        volume_mm3 = int(np.count_nonzero(lesion)) * voxel_mm3
        touched = np.unique(predicted[box][_dilated(lesion, neighbours, rule.dilations)])
        touched = touched[touched > 0]
        found_any[touched] = True
        compared = None
        if len(touched):
            box = bounding_box([box, *(boxes_predicted[other - 1] for other in touched)])
            lesion, found = reference[box] & (zones[box] == number), np.isin(predicted[box], touched)
            compared = _compare(lesion, found, spacing_mm)
        lesions.append((volume_mm3, compared))
    return lesions, int(np.count_nonzero(~found_any[1:]))


def _dilated(mask: np.ndarray, neighbours: np.ndarray, times: int) -> np.ndarray:
    return ndimage.binary_dilation(mask, neighbours, iterations=times) if times else mask


def _compare(lesion: np.ndarray, found: np.ndarray, spacing_mm: Sequence[float]) -> tuple[float, float]:
    """Dice and HD95 of a lesion and of all that found it, between surfaces weighted by area as in the challenges."""
    dice = float(2 * np.count_nonzero(lesion & found) / (np.count_nonzero(lesion) + np.count_nonzero(found)))
    pair = surface_distances(lesion, found, spacing_mm, "mesh")
    return dice, max(distances.percentile("mesh") for distances in pair)
