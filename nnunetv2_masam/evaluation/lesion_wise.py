"""Dice and HD95 of each lesion, averaged over lesions, as the BraTS challenges define them.

The rule of the challenges of 2023 (https://github.com/rachitsaluja/BraTS-2023-Metrics), step by step:

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

from nnunetv2_masam.evaluation.lesions import bounding_box, components
from nnunetv2_masam.evaluation.surfaces import surface_distances


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


@dataclass(frozen=True)
class Lesion:
    """One lesion of the reference.

    Attributes:
        volume_mm3: its volume in the reference.
        dice: Dice of the lesion and of everything that found it; 0 if missed.
        hd95_mm: the larger of the two directed 95th percentiles of surface distances; the penalty if missed.
        found: a predicted lesion touches it or its dilation.
        counts: it is larger than the rule's minimum.
    """

    volume_mm3: float
    dice: float
    hd95_mm: float
    found: bool
    counts: bool


@dataclass(frozen=True)
class LesionWise:
    """The lesions of a structure in one case.

    Attributes:
        lesions: those of the reference.
        false_positives: number of predicted lesions that touch no reference lesion.
        penalty_mm: HD95 of each of them.
    """

    lesions: tuple[Lesion, ...]
    false_positives: int
    penalty_mm: float

    @property
    def dice(self) -> float:
        """Mean Dice of the lesions that count and the false positives; NaN without any."""
        return self._mean([lesion.dice for lesion in self.lesions if lesion.counts], 0.0)

    @property
    def hd95_mm(self) -> float:
        """Mean HD95 of the lesions that count and the false positives; NaN without any."""
        return self._mean([lesion.hd95_mm for lesion in self.lesions if lesion.counts], self.penalty_mm)

    def _mean(self, values: list[float], penalty: float) -> float:
        together = len(values) + self.false_positives
        return (sum(values) + penalty * self.false_positives) / together if together else math.nan


def lesion_wise(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing_mm: Sequence[float],
    rule: LesionRule,
    diagonal_mm: float,
) -> LesionWise:
    """Measure each lesion of a structure.

    Args:
        reference: boolean mask, (D, H, W) or (H, W).
        prediction: boolean mask of the same shape.
        spacing_mm: voxel size, one number for each axis. A slice counts as 1 mm thick.
        rule: from `LESION_RULES`, or one's own.
        diagonal_mm: of the whole image: the penalty where the rule has none.
    """
    penalty_mm = diagonal_mm if rule.penalty_mm is None else rule.penalty_mm
    voxel_mm3 = math.prod(float(size) for size in spacing_mm)
    # dilations must not end at the edge of a crop
    reference, prediction = (np.pad(mask, rule.dilations + 1) for mask in (reference, prediction))
    neighbours = ndimage.generate_binary_structure(reference.ndim, 2)
    grown = _dilated(reference, neighbours, rule.dilations)
    zones, _ = components(grown)
    predicted, n_predicted = components(prediction)
    boxes_predicted = ndimage.find_objects(predicted)
    found_any = np.zeros(n_predicted + 1, bool)
    lesions = []
    for number, box in enumerate(ndimage.find_objects(zones), start=1):
        lesion = reference[box] & (zones[box] == number)
        volume_mm3 = int(np.count_nonzero(lesion)) * voxel_mm3
        touched = np.unique(predicted[box][_dilated(lesion, neighbours, rule.dilations)])
        touched = touched[touched > 0]
        found_any[touched] = True
        dice, hd95_mm = 0.0, penalty_mm
        if len(touched):
            box = bounding_box([box, *(boxes_predicted[other - 1] for other in touched)])
            lesion, found = reference[box] & (zones[box] == number), np.isin(predicted[box], touched)
            dice, hd95_mm = _compare(lesion, found, spacing_mm)
        lesions.append(Lesion(volume_mm3, dice, hd95_mm, bool(len(touched)), volume_mm3 > rule.minimum_mm3))
    return LesionWise(tuple(lesions), int(np.count_nonzero(~found_any[1:])), penalty_mm)


def _dilated(mask: np.ndarray, neighbours: np.ndarray, times: int) -> np.ndarray:
    return ndimage.binary_dilation(mask, neighbours, iterations=times) if times else mask


def _compare(lesion: np.ndarray, found: np.ndarray, spacing_mm: Sequence[float]) -> tuple[float, float]:
    """Dice and HD95 of a lesion and of all that found it, between surfaces weighted by area as in the challenges."""
    dice = float(2 * np.count_nonzero(lesion & found) / (np.count_nonzero(lesion) + np.count_nonzero(found)))
    pair = surface_distances(lesion, found, spacing_mm, "mesh")
    return dice, max(distances.percentile("mesh") for distances in pair)
