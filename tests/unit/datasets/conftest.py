"""Small datasets in the published layouts, and empty folders for nnU-Net."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.datasets.btcv import TRAINING
from nnunetv2_masam.folds.paper_splits import PROSTATE_SITES

SHAPE = (4, 12, 10)  # (D, H, W)
SPACING_XYZ_MM = (0.7, 0.8, 3.0)
ORIGIN_XYZ_MM = (-3.5, 4.25, 7.0)


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's planner refuses the zero that tests of trainers set for the whole run."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")


# PROMISE12's numbers, from which UCL, BIDMC and HK are drawn, have gaps
PROSTATE_NUMBERS = {
    "RUNMC": range(30),
    "BMC": range(30),
    "I2CVB": range(19),
    "UCL": (1, *range(26, 38)),
    "BIDMC": (0, *range(2, 13)),
    "HK": range(38, 50),
}


def write_volume(path: Path, array: np.ndarray, spacing_xyz_mm: tuple[float, ...] = SPACING_XYZ_MM) -> None:
    """Write (D, H, W) values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_xyz_mm)
    image.SetOrigin(ORIGIN_XYZ_MM)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))


def image_array(seed: int) -> np.ndarray:
    """Noise that differs from case to case."""
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE).astype(np.int16)


def label_array(values: range | tuple[int, ...]) -> np.ndarray:
    """Background, and two voxels of each value."""
    labels = np.zeros(SHAPE, np.uint8)
    for index, value in enumerate(values):
        labels.flat[[4 * index, 4 * index + 1]] = value
    return labels


def write_btcv(base: Path, numbers: tuple[int, ...] = TRAINING) -> Path:
    """``RawData`` with these training cases and two test cases."""
    for number in numbers:
        training = base / "RawData" / "Training"
        write_volume(training / "img" / f"img{number:04d}.nii.gz", image_array(number))
        write_volume(training / "label" / f"label{number:04d}.nii.gz", label_array(range(1, 14)))
    for number in (61, 62):
        write_volume(base / "RawData" / "Testing" / "img" / f"img{number:04d}.nii.gz", image_array(number))
    return base


def write_prostate6(base: Path) -> Path:
    """All six sites with their numbers of cases; two of them with zones, one with a capital in its names."""
    for index, site in enumerate(PROSTATE_SITES):
        for number in PROSTATE_NUMBERS[site]:
            suffix = "Segmentation" if site == "BMC" else "segmentation"
            values = (1, 2) if site in ("RUNMC", "BMC") else (1,)
            write_volume(base / site / f"Case{number:02d}.nii.gz", image_array(100 * index + number))
            write_volume(base / site / f"Case{number:02d}_{suffix}.nii.gz", label_array(values))
    return base


@dataclass
class Folders:
    """nnU-Net's folders."""

    raw: Path
    preprocessed: Path
    results: Path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Empty ones, set in the environment."""
    found = Folders(*(tmp_path / "nnunet" / name for name in ("raw", "preprocessed", "results")))
    for name in ("raw", "preprocessed", "results"):
        folder = getattr(found, name)
        folder.mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(folder))
    return found


@pytest.fixture(scope="session")
def btcv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete BTCV, to be read only."""
    return write_btcv(tmp_path_factory.mktemp("btcv"))


@pytest.fixture(scope="session")
def prostate6(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six sites, to be read only."""
    return write_prostate6(tmp_path_factory.mktemp("prostate6"))
