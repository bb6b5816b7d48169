"""Calibration of probabilities: expected calibration error and reliability curve.

Probabilities are sorted into bins of equal width. A bin's error is the difference between its mean probability and the
share of its voxels that belong to the class. The definition is that of MONAI 1.6 (``calibration_binning``,
``CalibrationErrorMetric``; Guo et al. 2017, arXiv:1706.04599), bin edges included: they span [0, 1 + 2⁻²³], and a
probability on an edge belongs to the bin below. Counts and sums are exact here. MONAI's are in single precision, so
that no bin holds more than 2²⁴ voxels there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DEFAULT_BINS = 20


@dataclass(frozen=True)
class Reliability:
    """The reliability curve of one class.

    Attributes:
        probability: mean predicted probability of each bin, (bins,); NaN where it is empty.
        frequency: share of each bin's voxels that belong to the class, (bins,); NaN where it is empty.
        counts: voxels of each bin, (bins,).
    """

    probability: np.ndarray
    frequency: np.ndarray
    counts: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean of the bins' errors, weighted by their voxels; NaN without voxels."""
        filled = self.counts > 0
        if not filled.any():
            return float("nan")
        return float(np.average(self._errors[filled], weights=self.counts[filled]))

    @property
    def average_error(self) -> float:
        """Average calibration error: mean of the errors of the bins that are not empty."""
        filled = self.counts > 0
        return float(self._errors[filled].mean()) if filled.any() else float("nan")

    @property
    def maximum_error(self) -> float:
        """Largest error of a bin that is not empty."""
        filled = self.counts > 0
        return float(self._errors[filled].max()) if filled.any() else float("nan")

    @property
    def _errors(self) -> np.ndarray:
        return np.abs(self.probability - self.frequency)


def reliability(
    probabilities: np.ndarray, member: np.ndarray, counted: np.ndarray | None = None, bins: int = DEFAULT_BINS
) -> Reliability:
    """Compare the predicted probabilities of a class or region with how often it is there.

    Args:
        probabilities: in [0, 1], of any shape.
        member: boolean, of the same shape: the voxel belongs to the class.
        counted: boolean, of the same shape: voxels to use, such as those not under the ignore label (default: all).
        bins: number of bins.

    Raises:
        ValueError: the shapes differ, a probability is not in [0, 1], or there is no bin.
    """
    if probabilities.shape != member.shape or (counted is not None and counted.shape != member.shape):
        shapes = (probabilities.shape, member.shape, *([] if counted is None else [counted.shape]))
        raise ValueError(f"probabilities, member and counted have the shapes {shapes}; expected equal ones")
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected 1 or more")
    if counted is not None:
        probabilities, member = probabilities[counted], member[counted]
    values = np.ravel(probabilities).astype(np.float32, copy=False)
    # also refuses NaN; half precision can exceed 1 by a rounding error
    if values.size and not (values.min() >= 0 and values.max() <= 1.001):
        raise ValueError(
            f"probabilities are from {values.min():g} to {values.max():g}; expected 0 to 1. "
            "Give the probabilities that --save_probabilities writes, not logits."
        )
    edges = np.linspace(0, 1 + np.finfo(np.float32).eps, bins + 1).astype(np.float32)
    place = np.minimum(np.searchsorted(edges[1:], values), bins - 1)
    counts = np.bincount(place, minlength=bins)
    totals = np.bincount(place, values, bins), np.bincount(place, np.ravel(member), bins)
    with np.errstate(invalid="ignore"):
        probability, frequency = (total / counts for total in totals)
    return Reliability(probability, frequency, counts)
