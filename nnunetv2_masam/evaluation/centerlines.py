"""clDice, the overlap of the centrelines of vessels and airways (Shit et al. 2021, arXiv:2003.07311).

Topology precision is the share of the prediction's centreline that lies in the reference, topology sensitivity the
share of the reference's centreline that lies in the prediction; clDice is their harmonic mean.

The centreline is scikit-image's skeleton (Lee et al. 1994) on a grid of twice the resolution. On the voxels themselves
scikit-image 0.26 returns nothing for solid rods of an even width, and loses the wide part of a rod that is four voxels
wide at one end and one at the other. Halfway between two voxels of a mask the finer grid is inside as well, so every
width is odd there, and no part is lost: `tests/unit/evaluation/test_centerlines.py` has the shapes.
"""

from __future__ import annotations

import itertools

import numpy as np


def cldice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Centreline Dice of two boolean masks of the same shape, (D, H, W) or (H, W).

    Returns:
        NaN if both masks are empty, 0 if one of them is.
    """
    if not reference.any() or not prediction.any():
        return float("nan") if not (reference.any() or prediction.any()) else 0.0
    fine_reference, fine_prediction = _refined(reference), _refined(prediction)
    sensitivity = float(fine_prediction[_skeleton(fine_reference)].mean())
    precision = float(fine_reference[_skeleton(fine_prediction)].mean())
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def centerline(mask: np.ndarray) -> np.ndarray:
    """Centreline of a boolean mask on the grid of voxels and points halfway between them, 2n - 1 along each axis.

    Raises:
        RuntimeError: scikit-image found none although the mask is not empty.
    """
    return _skeleton(_refined(mask))


def _refined(mask: np.ndarray) -> np.ndarray:
    """The mask at half the spacing: a point between voxels is inside where it is halfway between two that are."""
    fine = np.zeros([2 * n - 1 for n in mask.shape], bool)
    for between in itertools.product((0, 1), repeat=mask.ndim):
        points = fine[tuple(slice(step, None, 2) for step in between)]
        for corner in itertools.product(*(range(step + 1) for step in between)):
            opposite = tuple(step - side for step, side in zip(between, corner, strict=True))
            if corner <= opposite:
                points |= _corner(mask, between, corner) & _corner(mask, between, opposite)
    return fine


def _corner(mask: np.ndarray, between: tuple[int, ...], corner: tuple[int, ...]) -> np.ndarray:
    """The voxels at one corner of all points that lie between voxels along some axes."""
    return mask[tuple(slice(side, n - step + side) for side, step, n in zip(corner, between, mask.shape, strict=True))]


def _skeleton(mask: np.ndarray) -> np.ndarray:
    from skimage.morphology import skeletonize

    skeleton = skeletonize(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim].astype(bool)
    if mask.any() and not skeleton.any():
        raise RuntimeError("scikit-image found no skeleton of a mask that is not empty, so there is no clDice")
    return skeleton
