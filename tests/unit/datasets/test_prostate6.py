"""``convert prostate6``: sites in the names, zones merged, the fixed folds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from nnunetv2_masam.folds.paper_splits import PROSTATE_SITES
from tests.unit.datasets.conftest import PROSTATE_NUMBERS, Folders, label_array, write_volume


def convert(source: Path, *options: str) -> int:
    return main(["convert", "prostate6", str(source), "-d", "18", *options])


def test_conversion_and_folds(prostate6: Path, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(prostate6, "--paper-split", "--folds-by-site") == 0
    dataset = folders.raw / "Dataset018_Prostate6"
    assert json.loads((dataset / "dataset.json").read_text())["numTraining"] == 116
    for case in ("RUNMC_0003", "BMC_0003", "HK_0038"):
        written = sitk.GetArrayFromImage(sitk.ReadImage(str(dataset / "labelsTr" / f"{case}.nii.gz")))
        values = (1,) if case.startswith("HK") else (1, 2)
        np.testing.assert_array_equal(written, label_array(values) > 0)
    printed = capsys.readouterr().out
    assert "label  1 prostate   in 116 cases" in printed
    assert "fold 5: prostate6-paper\n  fold 6: prostate6-paper-RUNMC" in printed
    assert "fold 17: prostate6-without-HK" in printed
    splits = json.loads((folders.preprocessed / dataset.name / "splits_final.json").read_text())
    _check_paper_folds(splits[5:12])
    for split, site in zip(splits[12:], PROSTATE_SITES, strict=True):
        assert {case.split("_")[0] for case in split["val"]} == {site}
        assert {case.split("_")[0] for case in split["train"]} == set(PROSTATE_SITES) - {site}
        assert len(split["train"]) + len(split["val"]) == 116


def _check_paper_folds(splits: list[dict[str, list[str]]]) -> None:
    together, *alone = splits
    assert len(together["train"]) == 91
    assert len(together["val"]) == 25
    assert [len(split["val"]) for split in alone] == [6, 6, 4, 3, 3, 3]
    assert [len(split["train"]) + len(split["val"]) for split in alone] == [30, 30, 19, 13, 12, 12]
    assert alone[3]["val"] == ["UCL_0001", "UCL_0032", "UCL_0034"]
    assert sorted(case for split in alone for case in split["val"]) == together["val"]
    for split, site in zip(alone, PROSTATE_SITES, strict=True):
        assert {case.split("_")[0] for case in split["train"] + split["val"]} == {site}


def test_sites_have_the_published_numbers_of_cases() -> None:
    """What the fixtures write is what the converter expects, and the authors' test cases are among it."""
    for site, (_, count, test) in PROSTATE_SITES.items():
        assert len(PROSTATE_NUMBERS[site]) == count
        assert {int(number) for number in test} <= set(PROSTATE_NUMBERS[site])


def test_missing_site(prostate6: Path, tmp_path: Path, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    source = shutil.copytree(prostate6, tmp_path / "source")
    shutil.rmtree(source / "HK")
    assert convert(source) == 2
    message = capsys.readouterr().err
    assert f"{source} is not the six-site prostate data as published" in message
    assert "HK/Case00.nii.gz, HK/Case00_segmentation.nii.gz" in message.partition("Found:")[0]
    assert "  BIDMC/\n    Case00.nii.gz" in message.partition("Found:")[2]
    assert "HK" not in message.partition("Found:")[2]


def test_wrong_files(prostate6: Path, tmp_path: Path, folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    source = shutil.copytree(prostate6, tmp_path / "source")
    (source / "UCL" / "Case26.nii.gz").unlink()
    assert convert(source) == 2
    assert f"{source / 'UCL'}:\n  label files without an image: 0026" in capsys.readouterr().err
    (source / "UCL" / "Case26_segmentation.nii.gz").unlink()
    assert convert(source) == 2
    assert f"{source / 'UCL'}: 12 cases, the published data have 13" in capsys.readouterr().err
    write_volume(source / "HK" / "Case40_segmentation.nii.gz", label_array((3,)))
    write_volume(source / "HK" / "Case41_segmentation.nii.gz", label_array((1,)), (0.7, 0.7, 3.0))
    assert convert(source, "--partial") == 2
    message = capsys.readouterr().err
    assert "Case40_segmentation.nii.gz: label values 3; the dataset has 0, 1, 2" in message
    assert "Case41_segmentation.nii.gz: lies elsewhere than its image" in message
    assert "with spacing 3 x 0.7 x 0.7 mm, its image 3 x 0.8 x 0.7 mm" in message
    assert list(folders.raw.iterdir()) == []
    write_volume(source / "HK" / "Case40_segmentation.nii.gz", label_array((1,)))
    assert convert(source, "--partial", "--copy-geometry") == 0
    assert "note: label file had another geometry and got its image's: HK_0041" in capsys.readouterr().out
