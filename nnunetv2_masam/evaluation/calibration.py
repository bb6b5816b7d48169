"""Calibration of the probabilities in ``case.npz`` beside each prediction.

nnU-Net writes the files with ``--save_probabilities`` (``nnUNetv2_predict``) or ``--npz`` (``nnUNetv2_train``): a
channel per label, background first, or per region. Probabilities are sorted into bins of equal width. A bin's error is
the difference between its mean probability and the share of its voxels that belong to the class. Errors are computed by
case and averaged over cases, as MONAI does; the curve counts the voxels of all cases.

The definition is that of MONAI 1.6 (``calibration_binning``, ``CalibrationErrorMetric``; Guo et al. 2017,
arXiv:1706.04599), bin edges included: they span [0, 1 + 2⁻²³], and a probability on an edge belongs to the bin below.
Counts and sums are exact here. MONAI's are in single precision, so that no bin holds more than 2²⁴ voxels there.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.segmentation import mask_of
from nnunetv2_masam.label_files import read_labels

DEFAULT_BINS = 20


def read_calibration(
    cases: pd.DataFrame,
    structures: dict[str, tuple[Structure, ...]],
    reader: type[BaseReaderWriter],
    file_ending: str,
    ignore_label: int | None,
) -> pd.DataFrame:
    """Reliability by bin, of the predictions that have probabilities beside them.

    Args:
        cases: ``model, run, case`` and the files ``reference`` and ``prediction``.
        structures: labels or regions by model.
        reader: nnU-Net's reader of the references.
        file_ending: of the predictions.
        ignore_label: of the references.

    Returns:
        ``model, run, case, label, bin`` with the mean ``probability``, the ``frequency`` of the label and the ``count``
        of voxels; no rows without such files.

    Raises:
        ValueError: naming the file, where it is damaged or is not of its prediction.
    """
    found = []
    for row in cases.itertuples(index=False):
        file = Path(str(row.prediction).removesuffix(file_ending) + ".npz")
        if not file.is_file():
            continue
        reference = read_labels(row.reference, reader).labels
        counted = None if ignore_label is None else reference != ignore_label
        parts = structures[row.model]
        heads = _read_probabilities(file, reference.shape, parts)
        for place, part in enumerate(parts):
            wanted = [place] if len(heads) == len(parts) else list(part.prediction_values)
            probability = heads[wanted].sum(axis=0, dtype=np.float32)
            bins = reliability(np.minimum(probability, 1), mask_of(reference, part.reference_values), counted)
            found.append(bins.assign(model=row.model, run=row.run, case=row.case, label=part.name))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def reliability(
    probabilities: np.ndarray, member: np.ndarray, counted: np.ndarray | None = None, bins: int = DEFAULT_BINS
) -> pd.DataFrame:
    """Compare the predicted probabilities of a class or region with how often it is there.

    Args:
        probabilities: in [0, 1], of any shape.
        member: boolean, of the same shape: the voxel belongs to the class.
        counted: boolean, of the same shape: voxels to use, such as those not under the ignore label (default: all).
        bins: number of bins.

    Returns:
        a row per ``bin`` with the mean ``probability``, the ``frequency`` of the class (NaN where the bin is empty) and
        the ``count`` of voxels.

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
    columns = {"bin": range(bins), "probability": probability, "frequency": frequency, "count": counts}
    return pd.DataFrame(columns)


def calibration_errors(bins: pd.DataFrame) -> pd.DataFrame:
    """Expected calibration error by model and label: mean over cases, lowest and highest; empty without bins."""
    if bins.empty:
        return bins
    filled = bins[bins["count"] > 0]
    weighted = (filled["probability"] - filled["frequency"]).abs() * filled["count"]
    keys = ["model", "label", "run", "case"]
    sums = filled.assign(error=weighted).groupby(keys, sort=False)[["error", "count"]].sum()
    errors = (sums["error"] / sums["count"]).groupby(["model", "label"], sort=False)
    return errors.agg(cases="count", expected_error="mean", lowest="min", highest="max").reset_index()


def reliability_curve(bins: pd.DataFrame) -> pd.DataFrame:
    """Mean probability and frequency of each bin over the voxels of all cases, by model and label."""
    filled = bins[bins["count"] > 0]
    totals = filled[["probability", "frequency"]].mul(filled["count"], axis=0).assign(count=filled["count"])
    keys = [filled[key] for key in ("model", "label", "bin")]
    sums = totals.groupby(keys, sort=False).sum()
    return sums[["probability", "frequency"]].div(sums["count"], axis=0).assign(count=sums["count"]).reset_index()


def _read_probabilities(file: Path, shape: Sequence[int], structures: Sequence[Structure]) -> np.ndarray:
    """The probabilities (channels, D, H, W) of a file: a channel per region, or per label value."""
    try:
        heads: np.ndarray = np.load(file)["probabilities"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{file}: cannot be read as probabilities of nnU-Net ({error}). Predict the case again"
        ) from error
    labels = 1 + max(value for part in structures for value in part.prediction_values)
    if heads.ndim != 4 or heads.shape[1:] != tuple(shape) or len(heads) not in (len(structures), *range(labels, 256)):
        raise ValueError(
            f"{file}: has the shape {heads.shape}, expected {len(structures)} regions or at least {labels} labels of "
            f"{tuple(shape)} voxels. Predict the case again with --save_probabilities"
        )
    return heads
