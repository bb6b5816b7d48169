"""``doctor -d``: what nnU-Net would train on without a word."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from nnunetv2_masam.data_checks import faults_of_files
from tests.scaled_labels import scale_labels
from tests.unit.evaluation.conftest import blobs, dataset, write_volume  # noqa: F401


def findings() -> dict[str, str]:
    return {fault.subject: fault.detail for fault in faults_of_files("901")}


@pytest.fixture
def raw(dataset: Any) -> Any:  # noqa: F811
    """The dataset before preprocessing: label files among the raw data."""
    dataset.write_json(dataset.raw / "dataset.json", dataset.dataset_json)
    dataset.references.rename(dataset.raw / "labelsTr")
    return dataset


def test_a_sound_dataset(dataset: Any) -> None:  # noqa: F811
    assert findings() == {}


def test_label_files(raw: Any) -> None:
    labels = raw.raw / "labelsTr"
    scale_labels(labels / "case_0.nii.gz")
    write_volume(labels / "case_1.nii.gz", blobs(1) * 4)
    write_volume(labels / "case_2.nii.gz", blobs(2) * np.float32(0.5))
    (labels / "case_3.nii.gz").write_text("no image")
    found = findings()
    assert "case_0.nii.gz: " in found["case_0"]
    assert "were rounded" in found["case_0"]
    assert "holds label values [4, 8], which dataset.json does not define" in found["case_1"]
    assert "holds 0.5, expected whole numbers" in found["case_2"]
    assert "case_3.nii.gz: cannot be read" in found["case_3"]
    assert len(found) == 4


def test_images_and_folds(dataset: Any) -> None:  # noqa: F811
    dataset.write_json(dataset.raw / "dataset.json", dataset.dataset_json)
    for case in range(6):
        write_volume(dataset.raw / "labelsTr" / f"case_{case}.nii.gz", blobs(case))
    images = dataset.raw / "imagesTr"
    sitk.WriteImage(sitk.Image([4, 4, 3], sitk.sitkVectorUInt8, 3), str(images / "case_0_0000.nii.gz"))
    write_volume(images / "case_1_0001.nii.gz", blobs(1)[1:])
    image = sitk.ReadImage(str(images / "case_2_0000.nii.gz"))
    image.SetOrigin((-3.0, 4.0, 8.5))
    sitk.WriteImage(image, str(images / "case_2_0000.nii.gz"))
    dataset.splits[1]["train"].append("case_2")
    dataset.write_json(dataset.preprocessed / "splits_final.json", dataset.splits)
    found = findings()
    assert "case_0_0000.nii.gz: has 3 values per voxel" in found["case_0"]
    assert "channels of unequal size" in found["case_1"]
    assert "case_1_0001.nii.gz has (20, 16, 9)" in found["case_1"]
    assert "case_2.nii.gz: origin [-3.0, 4.0, 5.5], its image [-3.0, 4.0, 8.5]" in found["case_2"]
    assert "fold 1: case_2" in found["splits_final.json"]
    assert len(found) == 4


def test_files_that_dataset_json_lists(raw: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """nnU-Net's way to keep files elsewhere: few-shot and doctor read them before preprocessing."""
    (raw.raw / "labelsTr").rename(raw.raw / "elsewhere")
    (raw.preprocessed / "splits_final.json").unlink()
    (raw.preprocessed / "dataset.json").unlink()
    listed = {
        case: {"images": [f"imagesTr/{case}_0000.nii.gz"], "label": f"elsewhere/{case}.nii.gz"} for case in raw.cases
    }
    raw.write_json(raw.raw / "dataset.json", {**raw.dataset_json, "dataset": listed})
    assert main(["few-shot", "-d", "901", "-k", "1"]) == 0
    splits = json.loads((raw.preprocessed / "splits_final.json").read_text())
    assert len(splits) == 10
    assert {case for split in splits for case in split["val"]} == set(raw.cases)
    assert findings() == {}
    capsys.readouterr()
    (raw.raw / "elsewhere" / "case_3.nii.gz").unlink()
    assert main(["few-shot", "-d", "901", "-k", "1"]) == 2
    assert "dataset.json lists label files that do not exist" in capsys.readouterr().err
    raw.write_json(raw.raw / "dataset.json", {**raw.dataset_json, "dataset": {"case_0": ["a"]}})
    assert main(["few-shot", "-d", "901", "-k", "1"]) == 2
    assert 'dataset: expected {"case": {"images"' in capsys.readouterr().err
