"""Comparisons and predictions read DICOM SEG where they read label images, with the same result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from nnunetv2_masam.dicom.labels import read_segmentation
from nnunetv2_masam.dicom.requests import SegRequest
from nnunetv2_masam.dicom.segments import write_segs
from nnunetv2_masam.evaluation.dicom_cases import common_grid
from nnunetv2_masam.evaluation.pipeline import CompareTestSet, ModelSource, compare_models
from nnunetv2_masam.predict.loading import load_model
from nnunetv2_masam.predict.request import ModelOptions
from tests.dicom_files import phantom
from tests.unit.predict.models import write_model

REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": [2], "bar": 3}, "regions_class_order": [1, 2, 3]}
SPARSE = {"labels": {"background": 0, "bar": 9, "tumor": 2, "liver": 5}}  # values that are no segment numbers
RENUMBERED, PLAIN = np.array([[0, 5, 2, 9], [0, 1, 2, 3]], np.uint8)


@pytest.fixture
def two_predictions(make_case):
    """Folders of label images and of DICOM SEG, each for a reference and a prediction that differs; by name."""

    def make(content: dict, values: np.ndarray, form: str = "binary") -> dict[str, Path]:
        case = make_case("oblique", labels=values[phantom(height=24, width=20)])
        root = case.source.parent
        content = {"file_ending": ".nii.gz", **content}
        (case.predictions / "dataset.json").write_text(json.dumps(content))
        (root / "dataset.json").write_text(json.dumps(content))
        image = sitk.ReadImage(str(case.predictions / f"{case.name}.nii.gz"))
        moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(image), (1, 2), axis=(0, 2)))
        moved.CopyInformation(image)
        case.predictions.rename(root / "references")
        (root / "moved").mkdir()
        sitk.WriteImage(moved, str(root / "moved" / f"{case.name}.nii.gz"))
        for name in ("references", "moved"):
            write_segs(SegRequest(root / name, case.source, root / f"{name}_seg", root / "dataset.json", form))
        return {
            name: root / name for name in ("references", "moved", "references_seg", "moved_seg", "images", "source")
        }

    return make


def scores(folders: dict[str, Path], references: str, *models: str, **more) -> pd.DataFrame:
    request = CompareTestSet(
        models=[ModelSource(str(folders[name]), name) for name in models],
        references=folders[references],
        dataset_json=folders["images"].parent / "dataset.json",
        no_cache=True,
        processes=1,
        progress=False,
        **more,
    )
    return compare_models(request).values.set_index("model").drop(columns=["run", "case", "fold", "group"])


def same(first: pd.DataFrame, second: pd.DataFrame) -> None:
    assert first["Dice"].between(0.2, 0.95).all()
    pd.testing.assert_frame_equal(first.reset_index(drop=True), second.reset_index(drop=True), rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "values", "form"),
    [
        (SPARSE, RENUMBERED, "binary"),
        (SPARSE, RENUMBERED, "labelmap"),
        (REGIONS, np.arange(4, dtype=np.uint8), "binary"),
    ],
)
def test_the_scores_are_those_of_label_images(two_predictions, content, values, form):
    folders = two_predictions(content, values, form)
    expected = scores(folders, "references", "moved")
    found = scores(folders, "references", "moved", "moved_seg")
    same(found.loc[["moved"]], expected)
    same(found.loc[["moved_seg"]], expected)
    same(scores(folders, "references_seg", "moved"), expected)
    same(scores(folders, "references_seg", "moved_seg"), expected)
    same(scores(folders, "references_seg", "moved_seg", images=folders["images"]), expected)


def test_files_of_other_names_are_found_by_their_series(two_predictions):
    folders = two_predictions(SPARSE, RENUMBERED)
    expected = scores(folders, "references", "moved")
    for name in ("references_seg", "moved_seg"):
        (path,) = folders[name].glob("*.dcm")
        path.rename(path.with_name("1-1.dcm"))
    same(scores(folders, "references_seg", "moved"), expected)
    same(scores(folders, "references", "moved_seg"), expected)
    (path,) = folders["moved"].glob("*.nii.gz")
    uid = str(pydicom.dcmread(next(folders["source"].iterdir())).SeriesInstanceUID)
    path.rename(path.with_name(f"{uid}.nii.gz"))
    same(scores(folders, "references_seg", "moved"), expected)
    (folders["moved_seg"] / "1-2.dcm").write_bytes((folders["moved_seg"] / "1-1.dcm").read_bytes())
    with pytest.raises(ValueError, match=r"1-2.dcm: is a second file for case_"):
        scores(folders, "references", "moved_seg")


def test_the_command_writes_a_report(two_predictions, tmp_path, capsys):
    folders = two_predictions(SPARSE, RENUMBERED)
    words = ["compare", "--references", folders["references_seg"], "--dataset-json", tmp_path / "dataset.json"]
    words += ["--images", folders["images"], "--predictions", f"A={folders['moved_seg']}", f"B={folders['moved']}"]
    assert main([str(word) for word in [*words, "-np", 1, "-o", tmp_path / "report"]]) == 0
    assert "Contours of" in (tmp_path / "report" / "report.html").read_text("utf-8").replace("contours", "Contours")


def test_segments_that_are_no_labels_are_refused(two_predictions):
    folders = two_predictions(SPARSE, RENUMBERED)
    other = {"labels": {"background": 0, "bar": 9, "tumor": 2, "spleen": 5}, "file_ending": ".nii.gz"}
    (folders["images"].parent / "dataset.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match=r"(?s)cannot be measured.*\['liver'\] are none of dataset.json's labels"):
        scores(folders, "references", "moved_seg")


def test_a_prediction_on_another_grid_is_refused(two_predictions):
    folders = two_predictions(SPARSE, RENUMBERED)
    (path,) = folders["references"].glob("*.nii.gz")
    reference = sitk.ReadImage(str(path))
    reference.SetOrigin([place + 0.3 for place in reference.GetOrigin()])
    sitk.WriteImage(reference, str(path))
    with pytest.raises(ValueError, match=r"(?s)cannot be measured.*\.dcm: has voxels at other places"):
        scores(folders, "references", "moved_seg")


def test_regions_that_no_label_image_can_hold(two_predictions):
    folders = two_predictions(REGIONS, PLAIN)
    (path,) = folders["moved_seg"].glob("*.dcm")
    nested = json.loads((folders["images"].parent / "dataset.json").read_text())
    nested["labels"]["bar"] = [1, 3]
    with pytest.raises(ValueError, match="overlap otherwise than the regions"):
        read_segmentation(path, None, nested)


def test_the_grid_of_two_files_holds_both(two_predictions):
    folders = two_predictions(SPARSE, RENUMBERED)
    paths = [next(folders[name].glob("*.dcm")) for name in ("moved_seg", "references_seg")]
    whole = common_grid([], dict.fromkeys(paths, SPARSE))
    for path in paths:
        image, _ = read_segmentation(path, whole)
        alone, _ = read_segmentation(path)
        assert sitk.GetArrayFromImage(image).sum() == sitk.GetArrayFromImage(alone).sum() > 0


def test_the_previous_stage_of_a_cascade_may_be_dicom_seg(two_predictions, tmp_path):
    folders = two_predictions(SPARSE, RENUMBERED)
    write_model(tmp_path / "model", previous_stage="3d_lowres", labels=SPARSE["labels"], patch=(8, 24, 24))
    model = load_model(ModelOptions(tmp_path / "model", folds=("0",), device="cpu"))
    (image,) = folders["images"].glob("*.nii.gz")
    (stage,) = folders["references"].glob("*.nii.gz")
    expected = model.read([image], stage).previous
    found = model.read([image], folders["references_seg"] / stage.name).previous
    assert set(np.unique(expected)) == {0, 2, 5, 9}
    np.testing.assert_array_equal(found, expected)


def test_without_the_extra_the_message_has_the_command_that_installs_it(two_predictions, tmp_path):
    folders = two_predictions(SPARSE, RENUMBERED)
    words = ["compare", "--references", folders["references"], "--dataset-json", tmp_path / "dataset.json"]
    words = [str(word) for word in [*words, "--predictions", folders["moved_seg"], "-o", tmp_path / "report"]]
    code = (
        f"import sys\nsys.modules['highdicom'] = None\nfrom nnunetv2_masam.cli import main\nsys.exit(main({words!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "nnunetv2-masam[dicom]"' in done.stderr
    assert "Traceback" not in done.stderr
