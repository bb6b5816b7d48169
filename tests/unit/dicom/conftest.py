"""A case for the way back: a series, the image that was imported from it and a prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("highdicom")

from nnunetv2_masam.dicom.importing import import_folder
from nnunetv2_masam.dicom.requests import ImportRequest
from tests.dicom_files import AXIAL, COLUMN_MM, ROTATED, ROW_MM, phantom, planes, values, write_enhanced, write_series

LABELS = {"background": 0, "liver": 1, "tumor": 2, "widget": 3}


def value_at(image: sitk.Image, positions: list[np.ndarray], axes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What an image holds at the places that the DICOM headers give to the voxels (D, H, W) of a series."""
    rows, columns = np.meshgrid(*(np.arange(n) for n in shape[1:]), indexing="ij")
    in_plane = rows[..., None] * ROW_MM * axes[1] + columns[..., None] * COLUMN_MM * axes[0]
    points = np.stack([position + in_plane for position in positions])  # (D, H, W, 3)
    matrix = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    indices = (points - image.GetOrigin()) @ np.linalg.inv(matrix).T
    nearest = np.rint(indices).astype(int)
    assert np.abs(indices - nearest).max() < 1e-2
    array = np.pad(sitk.GetArrayFromImage(image), 1)  # what lies outside is background
    x, y, z = np.moveaxis(np.clip(nearest, -1, np.array(image.GetSize())) + 1, -1, 0)
    return array[z, y, x]


@dataclass(frozen=True)
class Case:
    """What ``dicom seg`` needs; ``labels`` are in the order of ``positions``."""

    name: str
    source: Path
    predictions: Path
    positions: list[np.ndarray]
    axes: np.ndarray
    labels: np.ndarray

    def at_voxels(self, image: sitk.Image) -> np.ndarray:
        return value_at(image, self.positions, self.axes, self.labels.shape)


def _write(kind: str, folder: Path, labels: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    axes = AXIAL if kind in ("axial", "enhanced") else ROTATED
    positions = planes(len(labels), axes)
    if kind == "reversed":
        positions, labels = positions[::-1], labels[::-1]
    write = write_enhanced if kind.startswith("enhanced") else write_series
    write(folder, values(labels % 4), positions, axes, modality="CT" if kind in ("axial", "enhanced") else "MR")
    return planes(len(labels), axes), axes


@pytest.fixture
def make_case(tmp_path) -> Callable[..., Case]:
    """Write a case of a kind: axial, oblique, reversed, enhanced, enhanced oblique."""

    def make(kind: str = "axial", labels: np.ndarray | None = None) -> Case:
        labels = phantom() if labels is None else labels
        positions, axes = _write(kind, tmp_path / "source", labels)
        ((file, _),) = import_folder(ImportRequest(tmp_path / "source", tmp_path / "images"))
        image = sitk.ReadImage(str(tmp_path / "images" / file))
        (tmp_path / "predictions").mkdir()
        prediction = sitk.GetImageFromArray(labels)
        prediction.CopyInformation(image)
        name = file.removesuffix("_0000.nii.gz")
        sitk.WriteImage(prediction, str(tmp_path / "predictions" / f"{name}.nii.gz"))
        content = {"labels": LABELS, "file_ending": ".nii.gz"}
        (tmp_path / "predictions" / "dataset.json").write_text(json.dumps(content))
        return Case(name, tmp_path / "source", tmp_path / "predictions", positions, axes, labels)

    return make
