"""``convert btcv``: layout, labels, splits, and that nnU-Net takes what was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from nnunetv2_masam.datasets.btcv import TRAINING
from tests.nnunet import plan_and_preprocess, stock_split
from tests.unit.datasets.conftest import Folders, image_array, label_array, write_btcv, write_volume


def convert(source: Path, *options: str) -> int:
    return main(["convert", "btcv", str(source), "-d", "17", *options])


def test_labels_and_report(btcv: Path, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(btcv) == 0
    dataset = folders.raw / "Dataset017_BTCV"
    description = json.loads((dataset / "dataset.json").read_text())
    assert list(description["labels"].values()) == list(range(14))
    assert description["labels"]["left adrenal gland"] == 13
    assert description["channel_names"] == {"0": "CT"}
    assert description["numTraining"] == 30
    assert len(list((dataset / "imagesTr").iterdir())) == len(list((dataset / "labelsTr").iterdir())) == 30
    assert [path.name for path in sorted((dataset / "imagesTs").iterdir())] == [
        "BTCV_0061_0000.nii.gz",
        "BTCV_0062_0000.nii.gz",
    ]
    copied = dataset / "imagesTr" / "BTCV_0021_0000.nii.gz"
    assert copied.read_bytes() == (btcv / "RawData" / "Training" / "img" / "img0021.nii.gz").read_bytes()
    printed = capsys.readouterr().out
    assert "BTCV: 30 training cases, 2 test cases" in printed
    assert "slices x rows x columns: 4 x 12 x 10" in printed
    assert "spacing (mm):            3 x 0.8 x 0.7" in printed
    assert "label 13 left adrenal gland           in 30 cases" in printed
    assert "note" not in printed
    assert list(folders.preprocessed.iterdir()) == []
    assert [path.name for path in folders.raw.iterdir()] == [dataset.name]


def test_paper_merges_the_adrenal_glands(btcv: Path, folders: Folders) -> None:
    assert convert(btcv / "RawData", "--paper") == 0
    dataset = folders.raw / "Dataset017_BTCV"
    labels = json.loads((dataset / "dataset.json").read_text())["labels"]
    assert list(labels.values()) == list(range(13))
    assert labels["adrenal gland"] == 12
    expected = label_array(range(1, 14))
    expected[expected == 13] = 12
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(dataset / "labelsTr" / "BTCV_0001.nii.gz")))
    np.testing.assert_array_equal(written, expected)


def test_nnunet_takes_it_and_trains_on_the_papers_split(folders: Folders, tmp_path: Path) -> None:
    """Stock integrity check, planning and preprocessing, the splits file being there before; then stock do_split."""
    source = write_btcv(tmp_path / "source", tuple(range(31, 41)))
    assert convert(source, "--paper", "--paper-split", "--partial") == 0
    preprocessed = folders.preprocessed / "Dataset017_BTCV"
    before = (preprocessed / "splits_final.json").read_bytes()
    plan_and_preprocess([17], ("3d_fullres",), verify=True)
    assert (preprocessed / "splits_final.json").read_bytes() == before
    cases = [path.name.removesuffix(".nii.gz") for path in (preprocessed / "gt_segmentations").iterdir()]
    training, validation = stock_split(preprocessed, 5, cases)
    assert validation == [f"BTCV_{number:04d}" for number in range(35, 41)]
    assert training == [f"BTCV_{number:04d}" for number in range(31, 35)]
    assert sorted(training + validation) == sorted(cases)


@pytest.mark.parametrize("folder", ["", "RawData/Training/img"])
def test_other_folder(btcv: Path, folders: Folders, capsys: pytest.CaptureFixture[str], folder: str) -> None:
    source = btcv / folder if folder else folders.raw.parent
    assert convert(source) == 2
    message = capsys.readouterr().err
    assert f"{source} is not BTCV as published. Expected:\n  RawData/Training/img/img0001.nii.gz" in message
    assert ("img0001.nii.gz\n" if folder else "  preprocessed/\n    (nothing)") in message.partition("Found:")[2]
    assert list(folders.raw.iterdir()) == []


def test_missing_and_unknown_cases(tmp_path: Path, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_btcv(tmp_path / "source", (1, 2, 3, 11))
    training = source / "RawData" / "Training"
    (training / "label" / "label0002.nii.gz").unlink()
    (training / "img" / "img0003.nii.gz").unlink()
    assert convert(source) == 2
    message = capsys.readouterr().err
    assert "images without a label file: 0002" in message
    assert "label files without an image: 0003" in message
    assert "numbers that the dataset does not have: 0011" in message
    assert "missing: 0004, 0005" in message


def test_partial(tmp_path: Path, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_btcv(tmp_path / "source", TRAINING[:6])
    assert convert(source) == 2
    assert "--partial" in capsys.readouterr().err
    assert convert(source, "--partial", "--paper-split") == 2
    assert "split btcv-paper: cases that the dataset does not have: BTCV_0035" in capsys.readouterr().err
    assert list(folders.raw.iterdir()) == []
    assert convert(source, "--partial") == 0
    assert json.loads((folders.raw / "Dataset017_BTCV" / "dataset.json").read_text())["numTraining"] == 6


def test_bad_files_leave_nothing_behind(tmp_path: Path, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them are listed, and no folder is written."""
    source = write_btcv(tmp_path / "source", TRAINING[:3])
    labels = source / "RawData" / "Training" / "label"
    write_volume(labels / "label0001.nii.gz", label_array((14,)))
    write_volume(labels / "label0003.nii.gz", label_array((1,))[:2])
    assert convert(source, "--partial") == 2
    message = capsys.readouterr().err
    assert "2 files are not as expected, nothing was written" in message
    assert "label0001.nii.gz: label values 14" in message
    assert "label0003.nii.gz: 2 x 12 x 10 voxels" in message
    assert list(folders.raw.iterdir()) == []


def test_same_number_twice(tmp_path: Path, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_btcv(tmp_path / "source", TRAINING[:2])
    write_volume(source / "RawData" / "Training" / "img" / "img0001.nii", image_array(1))
    assert convert(source, "--partial") == 2
    assert "two files for number 1" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["raw", "preprocessed", "results"])
def test_taken_number(btcv: Path, folders: Folders, capsys: pytest.CaptureFixture[str], where: str) -> None:
    (getattr(folders, where) / "Dataset017_Other").mkdir()
    assert convert(btcv) == 2
    assert "dataset number 17: taken by Dataset017_Other" in capsys.readouterr().err
