"""Write segmentations atomically, into a folder that is checked before the first case."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunetv2_masam.files import atomic_file, read_text, write_json, write_text
from nnunetv2_masam.images import is_whole_nifti
from nnunetv2_masam.options import options_of
from nnunetv2_masam.predict.request import ModelOptions, PredictRequest

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
    options = {name: getattr(request, name) for name in options_of(PredictRequest)}
    options |= {name: getattr(request.model, name) for name in options_of(ModelOptions)} | {"folder": model_folder}
    write_json(folder / "predict_from_raw_data_args.json", {key: _plain(value) for key, value in options.items()})
    for name in ("dataset.json", "plans.json"):
        write_text(folder / name, read_text(model_folder / name))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def write_labels(predictor: nnUNetPredictor, labels: np.ndarray, path: Path, properties: dict[str, Any]) -> Path:
    """Write labels (D, H, W) by nnU-Net's writer; ``path``, which is returned, appears when the file is whole.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    with atomic_file(path) as partial:
        predictor.plans_manager.image_reader_writer_class().write_seg(labels, str(partial), properties)
        _check_whole(partial)
    return path


def _check_whole(path: Path) -> None:
    """Raise ``RuntimeError`` if a file is missing or a NIfTI file is cut short."""
    if not path.is_file():
        raise RuntimeError(f"file write failed: there is no {path.name}")
    if path.name.endswith((".nii", ".nii.gz")) and not is_whole_nifti(path):
        raise RuntimeError(f"file write failed: {path.name} holds less than all of its labels")
