"""Segmentations as files: whole or not there, in a folder that is checked before the first case."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunetv2_masam.files import atomic_file, read_text, write_json, write_text
from nnunetv2_masam.predict.request import PredictRequest

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

_PROBE_BYTES = 1 << 20


def prepare_output(request: PredictRequest, model_folder: Path) -> None:
    """Make the output folder, and write there what nnU-Net's later commands read.

    Raises:
        OSError: the folder cannot be made or written to, or its disk is full.
    """
    folder = request.output
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "predict_from_raw_data_args.json") as probe:  # as large as a small segmentation
        probe.write_bytes(os.urandom(_PROBE_BYTES))
        probe.unlink()
    options = {key: _plain(value) for key, value in asdict(request).items()}
    write_json(folder / "predict_from_raw_data_args.json", options | {"model_folder": str(model_folder)})
    for name in ("dataset.json", "plans.json"):
        write_text(folder / name, read_text(model_folder / name))


def _plain(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def write_labels(predictor: nnUNetPredictor, labels: np.ndarray, path: Path, properties: dict[str, Any]) -> None:
    """Write labels (D, H, W) by nnU-Net's writer; ``path`` appears when the file is whole.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    with atomic_file(path) as partial:
        predictor.plans_manager.image_reader_writer_class().write_seg(labels, str(partial), properties)
        _check_whole(partial, labels.nbytes)


def _check_whole(path: Path, nbytes: int) -> None:
    """Raise ``OSError`` if a NIfTI file is cut short, which ITK does on a full disk without an error."""
    if not path.is_file():
        raise OSError(f"{path.name}: could not be written")
    if not path.name.endswith((".nii", ".nii.gz")):
        return
    count = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            while piece := file.read(1 << 20):
                count += len(piece)
    except (EOFError, gzip.BadGzipFile):
        count = 0
    if count < nbytes:
        raise OSError(f"{path.name}: file write failed, it holds less than its {nbytes} bytes of labels")
