"""A data set with result folders as nnU-Net leaves them: two trainers, three folds, six cases, two labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.evaluation.evaluate_predictions import compute_metrics, save_summary_json
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

DATASET = "Dataset901_Blobs"
SPACING_XYZ = (0.5, 1.0, 2.5)
LABELS = {"background": 0, "kidney": 1, "liver": 2}


def write_volume(path: Path, labels: np.ndarray, spacing_xyz: tuple[float, ...] = SPACING_XYZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(spacing_xyz)
    image.SetOrigin((-3.0, 4.0, 5.5))
    sitk.WriteImage(image, str(path))


def score_rows(
    model: str,
    metrics: dict[str, list[float]],
    *,
    label: str = "kidney",
    folds: list[int] | None = None,
    groups: list[str] | None = None,
    run: int = 0,
    **columns: Any,
) -> list[dict[str, Any]]:
    """Rows of a frame of values: metrics by case; further columns are the same in all rows."""
    cases = len(next(iter(metrics.values())))
    return [
        {
            **{"model": model, "run": run, "case": f"case_{c}", "label": label},
            **{"fold": folds[c] if folds else -1, "group": groups[c] if groups else ""},
            **{"in_reference": True, "in_prediction": True, **columns},
            **{name: values[c] for name, values in metrics.items()},
        }
        for c in range(cases)
    ]


def blobs(case: int) -> np.ndarray:
    labels = np.zeros((10, 16, 20), np.uint8)
    labels[2:7, 3:10, 4 : 9 + case % 3] = 1
    labels[4:9, 10:14, 8 : 14 + case % 2] = 2
    return labels


def degrade(labels: np.ndarray, shift: int) -> np.ndarray:
    return np.roll(labels, shift, axis=2)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report takes seconds and has tests of its own."""
    monkeypatch.setattr("nnunetv2_masam.evaluation.report.write_report", lambda *_: None)


class FakeDataset:
    """Writes and changes the folders; attributes are where things lie."""

    def __init__(self, root: Path) -> None:
        self.raw, self.preprocessed, self.results = (root / name / DATASET for name in ("raw", "pre", "res"))
        self.references = self.preprocessed / "gt_segmentations"
        self.cases = [f"case_{i}" for i in range(6)]
        self.splits = [
            {"train": [c for c in self.cases if c not in held], "val": held}
            for held in (self.cases[0:2], self.cases[2:4], self.cases[4:6])
        ]
        self.dataset_json = {
            "labels": LABELS,
            "channel_names": {"0": "CT"},
            "file_ending": ".nii.gz",
            "numTraining": 6,
        }
        for i, case in enumerate(self.cases):
            write_volume(self.references / f"{case}.nii.gz", blobs(i))
            write_volume(self.raw / "imagesTr" / f"{case}_0000.nii.gz", blobs(i).astype(np.float32) * 100)
        self.write_json(self.preprocessed / "splits_final.json", self.splits)
        self.write_json(self.preprocessed / "dataset.json", self.dataset_json)

    @staticmethod
    def write_json(path: Path, content: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    def model_folder(self, trainer: str) -> Path:
        return self.results / f"{trainer}__nnUNetPlans__3d_fullres"

    def prediction(self, trainer: str, case: str) -> Path:
        fold = self.cases.index(case) // 2
        return self.model_folder(trainer) / f"fold_{fold}" / "validation" / f"{case}.nii.gz"

    def add_model(self, trainer: str, shifts: Callable[[int], int]) -> Path:
        folder = self.model_folder(trainer)
        for i, case in enumerate(self.cases):
            write_volume(self.prediction(trainer, case), degrade(blobs(i), shifts(i)))
        self.write_json(
            folder / "plans.json",
            {"dataset_name": DATASET, "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager"},
        )
        self.write_json(folder / "dataset.json", self.dataset_json)
        self.write_summaries(trainer)
        return folder

    def copy_predictions(self, trainer: str, folder: Path) -> Path:
        """All predictions of a model in one new folder, as those of a test set."""
        folder.mkdir()
        for case in self.cases:
            shutil.copy(self.prediction(trainer, case), folder)
        return folder

    def test_set_arguments(self, **folders: Path) -> list[str]:
        """To compare these folders on the references of the training cases."""
        named = [f"{name}={folder}" for name, folder in folders.items()]
        references = ["--references", self.references, "--dataset-json", self.preprocessed / "dataset.json"]
        return ["compare", "--predictions", *named, *map(str, references), "-np", "1"]

    def write_summaries(self, trainer: str) -> None:
        """As `compute_metrics_on_folder` does, without its process pool."""
        for fold, split in enumerate(self.splits):
            validation = self.model_folder(trainer) / f"fold_{fold}" / "validation"
            found = [
                compute_metrics(
                    str(self.references / f"{case}.nii.gz"),
                    str(validation / f"{case}.nii.gz"),
                    SimpleITKIO(),
                    [1, 2],
                )
                for case in split["val"]
            ]
            for entry in found:
                for metrics in entry["metrics"].values():
                    metrics.update({key: value.item() for key, value in metrics.items() if hasattr(value, "item")})
            save_summary_json({"metric_per_case": found, "mean": {}}, str(validation / "summary.json"))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDataset:
    for variable, folder in (("raw", "raw"), ("preprocessed", "pre"), ("results", "res")):
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / folder))
    monkeypatch.setenv("MASAM_CACHE", str(tmp_path / "cache"))
    made = FakeDataset(tmp_path)
    made.add_model("nnUNetTrainer", lambda case: 2)
    made.add_model("nnUNetTrainerMASAM", lambda case: case % 2)
    return made
