"""Cases of a folder: found by their names, read and preprocessed by nnU-Net's own parts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nnunetv2_masam.dicom import SEG_ENDING
from nnunetv2_masam.dicom.labels import read_segmentation
from nnunetv2_masam.files import list_folder, shortened
from nnunetv2_masam.images import read_image, write_image

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


@dataclass(frozen=True)
class Case:
    """A preprocessed case.

    Attributes:
        image: (C, D, H, W), float32, in the axis order of the plans.
        previous: labels (1, D, H, W) of the previous stage of a cascade.
        properties: what nnU-Net notes while it reads and preprocesses.
    """

    image: Tensor
    previous: Tensor | None
    properties: dict[str, Any]


def find_cases(folder: Path, file_ending: str) -> dict[str, list[Path]]:
    """The files of each case, by channel, as nnU-Net finds them.

    Raises:
        ValueError: there are none, or a file has no channel number.
    """
    pattern = re.compile(rf"(.+)_\d{{4}}{re.escape(file_ending)}")
    names = [path.name for path in list_folder(folder) if path.name.endswith(file_ending)]
    cases: dict[str, list[Path]] = {}
    for name in names:
        if (match := pattern.fullmatch(name)) and not name.startswith("."):
            cases.setdefault(match[1], []).append(folder / name)
    results = {f"{case}{file_ending}" for case in cases}  # where a folder is both input and output
    nameless = [name for name in names if not (pattern.fullmatch(name) or name in results or name.startswith("."))]
    if nameless:
        raise ValueError(
            f"{folder}: {shortened(nameless)}: got no channel number, expected CASE_0000{file_ending} for the first "
            "channel. Rename or remove"
        )
    if not cases:
        raise ValueError(
            f"{folder}: no images, expected CASE_0000{file_ending}, the file ending of the model's dataset"
        )
    return dict(sorted(cases.items()))


def read_case(predictor: nnUNetPredictor, files: Sequence[Path], previous: Path | None = None) -> Case:
    """Read and preprocess a case.

    Args:
        predictor: nnU-Net's, with a model.
        files: one for each channel.
        previous: segmentation of the previous stage, if the model is the second of a cascade.

    Raises:
        ValueError: the image has other channels or dimensions than the model, or the segmentation another shape.
    """
    configuration, plans = predictor.configuration_manager, predictor.plans_manager
    reader = plans.image_reader_writer_class()
    image, properties = reader.read_images([str(file) for file in files])
    _check_image(predictor, image, properties)
    labels = None
    if previous is not None:
        labels = _read_previous(predictor, previous, files[0])
        if labels.shape[1:] != image.shape[1:]:
            raise ValueError(f"{previous}: shape {labels.shape[1:]}, expected the image's, {image.shape[1:]}")
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, seg, properties = preprocessor.run_case_npy(
        image, labels, properties, plans, configuration, predictor.dataset_json
    )
    x = torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))
    return Case(x, None if previous is None else torch.from_numpy(np.ascontiguousarray(seg)), properties)


def _read_previous(predictor: nnUNetPredictor, path: Path, image: Path) -> np.ndarray:
    """The labels (1, D, H, W) of the previous stage, from a DICOM SEG if there is no file of the model's format."""
    reader = predictor.plans_manager.image_reader_writer_class()
    seg = path.with_name(path.name.removesuffix(predictor.dataset_json["file_ending"]) + SEG_ENDING)
    if path.is_file():
        return reader.read_seg(str(path))[0]
    if not seg.is_file():
        raise ValueError(f"{path}: missing segmentation of the previous stage. Predict it first")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        write_image(read_segmentation(seg, read_image(image), predictor.dataset_json)[0], written)
        return reader.read_seg(str(written))[0]


def _check_image(predictor: nnUNetPredictor, image: np.ndarray, properties: dict[str, Any]) -> None:
    json = predictor.dataset_json
    channels = json.get("channel_names") or json.get("modality") or {}
    if len(image) != len(channels):
        names = ", ".join(map(str, channels.values()))
        raise ValueError(f"{len(image)} channels, expected {len(channels)} ({names})")
    flat = len(properties.get("sitk_stuff", {}).get("spacing", "xyz")) == 2
    if flat and len(predictor.configuration_manager.patch_size) == 3:
        raise ValueError("an image of 2 dimensions, expected 3, as the model's configuration is 3D")
    if not np.isfinite(image).all():
        raise ValueError("values that are not finite, expected numbers. Replace NaN and inf in the image")
