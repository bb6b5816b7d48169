"""Apply ``calibration.reliability`` to the probabilities in ``case.npz`` beside each prediction.

nnU-Net writes the files with ``--save_probabilities`` (``nnUNetv2_predict``) or ``--npz`` (``nnUNetv2_train``): a
channel per label, background first, or per region. Errors are computed by case and averaged over cases, as MONAI does;
the curve counts the voxels of all cases.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.calibration import reliability
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.segmentation import mask_of
from nnunetv2_masam.label_files import read_labels


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
            columns = {"probability": bins.probability, "frequency": bins.frequency, "count": bins.counts}
            keys = {"model": row.model, "run": row.run, "case": row.case, "label": part.name}
            found.append(pd.DataFrame(columns).assign(bin=range(len(bins.counts)), **keys))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def calibration_errors(bins: pd.DataFrame) -> pd.DataFrame:
    """Expected calibration error by model and label: mean over cases, lowest and highest."""
    filled = bins[bins["count"] > 0]
    weighted = (filled["probability"] - filled["frequency"]).abs() * filled["count"]
    sums = (
        filled.assign(error=weighted).groupby(["model", "label", "run", "case"], sort=False)[["error", "count"]].sum()
    )
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
