"""Damaged and unusual files and options: a sentence that names them, and nothing measured before it."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_masam.cli import main
from nnunetv2_masam.evaluation.request import CompareCrossValidation
from tests.unit.evaluation.conftest import blobs, write_volume

BASE, OURS = "nnUNetTrainer", "nnUNetTrainerMASAM"
CROSSVALIDATION = ["compare", "-d", "901", BASE, OURS, "-np", "1"]


@pytest.fixture
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: Any, **__: Any) -> None:
        raise AssertionError("measured before it was refused")

    monkeypatch.setattr("nnunetv2_masam.evaluation.pipeline.measure_all", measured)


@pytest.fixture
def test_set(dataset: Any, tmp_path: Path) -> Any:
    """Arguments for two folders of predictions, which are returned with them."""
    models = {"A": BASE, "B": OURS}
    folders = {name: dataset.copy_predictions(trainer, tmp_path / name) for name, trainer in models.items()}
    return dataset.test_set_arguments(**folders), folders


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    return capsys.readouterr().err


GOOD = {"labels": {"background": 0, "kidney": 1, "liver": 2}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([1], "holds list, expected an object"),
        ({"labels": GOOD["labels"]}, "file_ending: got None"),
        (GOOD | {"file_ending": 3}, "file_ending: got 3"),
        ({"file_ending": ".nii.gz"}, "labels: got None"),
        (GOOD | {"labels": ["kidney"]}, r"labels: got \['kidney'\]"),
        (GOOD | {"labels": {"background": 0, "kidney": None}}, "'kidney': None"),
        (GOOD | {"labels": {"background": 0, "kidney": 1.5}}, "'kidney': 1.5"),
        (GOOD | {"labels": {"kidney": 1}}, "nnU-Net does not take the labels"),
        (GOOD | {"labels": {"background": 1, "kidney": 2}}, "nnU-Net does not take the labels"),
        (GOOD | {"labels": {"background": 0, "all": [1, 2], "liver": 2}}, "regions_class_order"),
        (GOOD | {"labels": {"background": 0, "kidney": 2, "ignore": 1}}, "nnU-Net does not take the labels"),
    ],
)
def test_dataset_json(test_set: Any, tmp_path: Path, capsys: Any, content: Any, complaint: str) -> None:
    damaged = tmp_path / "damaged.json"
    damaged.write_text(json.dumps(content))
    message = refused(capsys, [*test_set[0], "--dataset-json", str(damaged)])
    assert re.search(rf"{re.escape(str(damaged))}: .*{complaint}", message)


@pytest.mark.parametrize(
    "content",
    [
        [1],
        {"metric_per_case": 1},
        {"metric_per_case": [1]},
        {"metric_per_case": [{"prediction_file": 5, "metrics": {}}]},
        {"metric_per_case": [{"prediction_file": "case_0.nii.gz", "metrics": None}]},
        {"metric_per_case": [{"prediction_file": "case_0.nii.gz", "metrics": {"1": {"n_ref": 5}}}]},
        {"metric_per_case": [{"prediction_file": "case_0.nii.gz", "metrics": {"1": {"Dice": "good"}}}]},
        {"metric_per_case": [{"prediction_file": "case_0.nii.gz", "metrics": {"1": {"Dice": 1, "n_ref": None}}}]},
    ],
)
def test_summary_json(test_set: Any, capsys: Any, nothing_measured: None, content: Any) -> None:
    arguments, folders = test_set
    (folders["A"] / "summary.json").write_text(json.dumps(content))
    assert str(folders["A"] / "summary.json") in refused(capsys, arguments)


@pytest.mark.parametrize(
    "file",
    [
        f"res/Dataset901_Blobs/{OURS}__nnUNetPlans__3d_fullres/plans.json",
        f"res/Dataset901_Blobs/{OURS}__nnUNetPlans__3d_fullres/dataset.json",
        "pre/Dataset901_Blobs/splits_final.json",
    ],
)
@pytest.mark.parametrize("content", ["", "[[1]]", "1", "\xff"])
def test_other_files(
    dataset: Any, tmp_path: Path, capsys: Any, nothing_measured: None, file: str, content: str
) -> None:
    (tmp_path / file).write_bytes(content.encode("latin1"))
    assert str(tmp_path / file) in refused(capsys, CROSSVALIDATION)


def test_a_stated_cost_that_is_none_is_named(dataset: Any, capsys: Any) -> None:
    stated = dataset.model_folder(OURS) / "fold_0" / "masam_cost.json"
    for content in ("[]", '{"peak_memory_bytes": "much"}'):
        stated.write_text(content)
        assert str(stated) in refused(capsys, CROSSVALIDATION)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tolerance", "inf"], "--tolerance.*inf"),
        (["--tolerance", "nan"], "--tolerance.*nan"),
        (["--tolerance", "-1"], r"tolerance \(--tolerance\) is -1 mm, expected more than 0"),
        (["--tolerance", "liver=0"], r"tolerance \(--tolerance\) of liver is 0 mm"),
        (["--lesion-iou", "2"], "--lesion-iou.* is 2"),
        (["--lesion-iou", "0.5"], r"--lesion-iou\) is 0.5, but no lesions are counted"),
        (["--folds", "7"], r"--folds \[7\]"),
        (["--images", "nowhere"], "nowhere: cannot be read as a folder"),
        (["--references", "nowhere"], "nowhere: cannot be read as a folder"),
        (["--dataset-json", "nowhere"], "nowhere: cannot be read"),
        (["--groups", "nowhere"], "nowhere: cannot be read"),
        (["--predictions", "A=a"], "what is 901 for"),
        (["--label-map", "nowhere"], r"\(--label-map\): used only where .* Add match_labels_by_name"),
        (["--prediction-labels", "nowhere"], r"\(--prediction-labels\): used only where .*--match-labels-by-name"),
    ],
)
def test_options(dataset: Any, capsys: Any, nothing_measured: None, options: list[str], complaint: str) -> None:
    assert re.search(complaint, refused(capsys, [*CROSSVALIDATION, *options]))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--seed", "-1"], "argument --seed: got '-1', expected a whole number of at least 0"),
        (["-np", "0"], "argument -np/--processes: got '0', expected a whole number of at least 1"),
        (["--folds", "-1"], "argument --folds: got '-1', expected a whole number of at least 0"),
        (["--lesion-iou", "0"], "argument --lesion-iou: got '0', expected a number above 0"),
        (["--cache", "folder", "--no-cache"], "argument --no-cache: not allowed with argument --cache"),
    ],
)
def test_options_that_the_parser_refuses(capsys: Any, options: list[str], complaint: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*CROSSVALIDATION, *options])
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"seed": -1}, r"seed \(--seed\) is -1, expected 0 or more"),
        ({"processes": 0}, r"processes \(-np\) is 0, expected 1 or more"),
        ({"tolerance_mm": math.nan}, r"tolerance \(--tolerance\) is nan mm"),
        (
            {"label_map": Path("map"), "prediction_labels": {None: Path("labels")}},
            "label_map .* and prediction_labels ",
        ),
    ],
)
def test_requests_from_python(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        CompareCrossValidation(dataset="901", **values)


def test_folds_of_a_test_set(test_set: Any, capsys: Any, nothing_measured: None) -> None:
    message = refused(capsys, [*test_set[0], "--folds", "0", "1"])
    assert "folds (--folds) are [0, 1], but a test set has none" in message


def test_an_output_that_is_a_file(dataset: Any, tmp_path: Path, capsys: Any, nothing_measured: None) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for output in (file, file / "below", tmp_path / "dangling"):
        assert "expected a folder for the output (-o)" in refused(capsys, [*CROSSVALIDATION, "-o", str(output)])
    assert file.read_text() == "precious"


def test_the_same_folder_twice(test_set: Any, tmp_path: Path, capsys: Any, nothing_measured: None) -> None:
    arguments, folders = test_set
    (tmp_path / "link").symlink_to(folders["A"])
    for same in (folders["A"], f"{folders['A']}/../A", tmp_path / "link"):
        twice = [*arguments[:3], f"C={same}", *arguments[3:]]
        assert "are the same model" in refused(capsys, twice)
    references = arguments[arguments.index("--references") + 1]
    assert "the references are the same folder" in refused(
        capsys, ["compare", "--predictions", references, *arguments[4:]]
    )


def test_fold_all_is_no_validation(dataset: Any, capsys: Any, nothing_measured: None) -> None:
    for fold in (1, 2):
        shutil.rmtree(dataset.model_folder(OURS) / f"fold_{fold}")
    (dataset.model_folder(OURS) / "fold_0").rename(dataset.model_folder(OURS) / "fold_all")
    assert "fold_all is validated on its own training cases" in refused(capsys, CROSSVALIDATION)
    shutil.rmtree(dataset.model_folder(BASE))
    assert "fold_all is validated on its own training cases" in refused(capsys, ["compare", "-d", "901"])


def test_a_reference_that_no_model_predicted(test_set: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, folders = test_set
    for folder in folders.values():
        (folder / "case_3.nii.gz").unlink()
    message = refused(capsys, arguments)
    assert f"A lacks predictions ({folders['A']}): case_3" in message
    assert "B lacks predictions" in message
    assert main([*arguments, "--common"]) == 0
    assert "cut to the 5 cases in common, of 6" in capsys.readouterr().out


def test_no_references_at_all(test_set: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(capsys, [*test_set[0], "--references", str(tmp_path / "empty")])
    assert f"{tmp_path / 'empty'}: no reference segmentations (*.nii.gz, *.dcm)" in message


def test_labels_off_their_images_are_measured_by_index_and_noted(dataset: Any, tmp_path: Path, capsys: Any) -> None:
    """The predictions have the images' header, as nnU-Net writes them; one label file is 0.05 mm off."""
    import SimpleITK as sitk

    path = dataset.references / "case_3.nii.gz"
    image = sitk.ReadImage(str(path))
    image.SetOrigin([value + 0.05 for value in image.GetOrigin()])
    sitk.WriteImage(image, str(path))
    for _ in range(2):  # the second time from memory
        capsys.readouterr()
        assert main(CROSSVALIDATION) == 0
        printed = capsys.readouterr().out
        assert "the header of 1 of 6 references is slightly off" in printed
        assert str(path) in printed
    shutil.rmtree(dataset.raw)
    message = refused(capsys, [*CROSSVALIDATION, "--no-cache"])
    assert str(path) in message
    assert "--images shows it" in message


def test_a_damaged_image_costs_its_picture_only(dataset: Any, tmp_path: Path) -> None:
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    from nnunetv2_masam.evaluation.pipeline import ModelSource, compare_models
    from nnunetv2_masam.evaluation.report.overlays import overlay

    (dataset.raw / "imagesTr" / "case_0_0000.nii.gz").write_bytes(b"no image")
    write_volume(dataset.raw / "imagesTr" / "case_1_0000.nii.gz", blobs(1)[:-1])
    request = CompareCrossValidation(models=[ModelSource(BASE), ModelSource(OURS)], dataset="901", processes=1)
    comparison = compare_models(request)
    assert comparison.setup.reader is SimpleITKIO
    shown = {case: overlay(comparison, case, [BASE, OURS]) for case in dataset.cases[:3]}
    for case in ("case_0", "case_1"):
        assert "as its image could not be shown" in shown[case].alt
    assert shown["case_2"].alt.startswith("case_2, axial slice ")
    assert "kidney, liver, on the image. Reference in white; contours of nnUNetTrainer (Dice 0." in shown["case_2"].alt
