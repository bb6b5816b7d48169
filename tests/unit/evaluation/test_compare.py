"""The command from folders to files, and every kind of bad input, each named with its file."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_masam.cli import main
from nnunetv2_masam.evaluation.pipeline import CompareCrossValidation, ModelSource, compare_models, write_comparison

BASE, OURS = "nnUNetTrainer", "nnUNetTrainerMASAM"
CROSSVALIDATION = ["compare", "-d", "901", BASE, OURS, "-np", "1"]
SPACING_X_MM = 0.5  # of the files that conftest writes

pytestmark = pytest.mark.usefixtures("no_report")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def rewrite(path: Path, change: Any, **geometry: Any) -> None:
    image = sitk.ReadImage(str(path))
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    changed.SetSpacing(geometry.get("spacing", image.GetSpacing()))
    changed.SetOrigin(geometry.get("origin", image.GetOrigin()))
    sitk.WriteImage(changed, str(path))


def test_every_output_is_written(dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([*CROSSVALIDATION, "-o", str(out)]) == 0
    rows = read_csv(out / "cases.csv")
    assert len(rows) == 2 * 6 * 2
    columns = "model case fold group label Dice IoU HD95_mm ASSD_mm NSD volume_reference_ml volume_prediction_ml empty"
    assert list(rows[0]) == columns.split()
    # shifted by two voxels along x, the axis of the finest spacing and the last one of the array
    assert {row["HD95_mm"] for row in rows if row["model"] == BASE} == {repr(2 * SPACING_X_MM)}
    text = capsys.readouterr().out
    assert "Quality" in text
    assert "too few cases to tell" in text
    markdown = (out / "table.md").read_text()
    assert "## Volumes" in markdown
    # case_0 to case_5: 5 x 7 x (5, 6, 7, 5, 6, 7) voxels of 1.25 mm3, of which a shift along x loses none
    assert "| kidney | nnUNetTrainer | 0.26 | 0.26 | 0.00 | 0.00 | 0.00 |" in markdown
    assert r"\textbf{" in (out / "table.tex").read_text()
    assert (out / "summary.json").is_file()


def test_dice_equals_nnunet_to_the_last_digit(dataset: Any, tmp_path: Path) -> None:
    assert main([*CROSSVALIDATION, "-o", str(tmp_path / "out")]) == 0
    found = {(row["model"], row["case"], row["label"]): row["Dice"] for row in read_csv(tmp_path / "out" / "cases.csv")}
    checked = 0
    for trainer in (BASE, OURS):
        for summary in dataset.model_folder(trainer).glob("fold_*/validation/summary.json"):
            for entry in json.loads(summary.read_text())["metric_per_case"]:
                case = Path(entry["prediction_file"]).name.removesuffix(".nii.gz")
                for key, name in (("1", "kidney"), ("2", "liver")):
                    assert found[trainer, case, name] == repr(entry["metrics"][key]["Dice"])
                    checked += 1
    assert checked == 24
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["notes"] == []


def test_a_prediction_changed_after_nnunet_measured_it_is_noted(dataset: Any, tmp_path: Path) -> None:
    rewrite(dataset.prediction(OURS, "case_3"), lambda labels: np.roll(labels, 1, axis=1))
    assert main([*CROSSVALIDATION, "-o", str(tmp_path / "out")]) == 0
    (note,) = json.loads((tmp_path / "out" / "summary.json").read_text())["notes"]
    assert "differs from nnU-Net's summary.json" in note
    assert "case_3" in note


def test_a_second_model_does_not_measure_the_first_again(dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2_masam.evaluation import measure

    def model_of(pair: Any) -> str:
        return pair.prediction.parents[2].name.split("__")[0]

    measured: list[str] = []
    original = measure.measure
    monkeypatch.setattr(measure, "measure", lambda pair: (measured.append(model_of(pair)), original(pair))[1])
    assert main(["compare", "-d", "901", BASE, "-np", "1"]) == 0
    assert measured == [BASE] * 6
    measured.clear()
    assert main(CROSSVALIDATION) == 0
    assert measured == [OURS] * 6
    measured.clear()
    rewrite(dataset.prediction(BASE, "case_0"), lambda labels: np.roll(labels, 1, axis=0))
    assert main(CROSSVALIDATION) == 0
    assert measured == [BASE]
    measured.clear()
    assert main([*CROSSVALIDATION, "--tolerance", "3"]) == 0
    assert len(measured) == 12


def test_tolerance_by_label(dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CROSSVALIDATION, "--tolerance", "0.1", "liver=50", "-o", str(tmp_path)]) == 0
    rows = read_csv(tmp_path / "cases.csv")
    assert {row["NSD"] for row in rows if row["label"] == "liver"} == {"1.0"}
    assert min(float(row["NSD"]) for row in rows if row["label"] == "kidney") < 1
    assert "unknown labels ['spleen']" in refused(capsys, [*CROSSVALIDATION, "--tolerance", "spleen=3"])


def test_empty_masks_are_counted_and_shown(dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def without_liver(labels: np.ndarray) -> np.ndarray:
        return np.where(labels == 2, 0, labels)

    rewrite(dataset.prediction(OURS, "case_0"), without_liver)  # missed
    for path in (dataset.references / "case_1.nii.gz", dataset.prediction(OURS, "case_1")):
        rewrite(path, without_liver)  # both empty for ours, a false alarm of the baseline
    dataset.write_summaries(BASE)
    dataset.write_summaries(OURS)
    assert main([*CROSSVALIDATION, "-o", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["empty"][OURS]["liver"] == {"reference": 0, "prediction": 1, "both": 1}
    assert summary["empty"][BASE]["liver"] == {"reference": 1, "prediction": 0, "both": 0}
    assert summary["summaries"][OURS]["liver"]["Dice"]["n"] == 6  # both empty counts as found
    assert summary["differences"][OURS]["liver"]["Dice"]["n"] == 6
    assert summary["notes"] == []
    text = capsys.readouterr().out
    assert "Detection\nlabel" in text
    assert "4 / 5" in text  # found of the cases that hold a liver
    row = next(
        row
        for row in read_csv(tmp_path / "cases.csv")
        if (row["model"], row["case"], row["label"]) == (OURS, "case_1", "liver")
    )
    assert row["Dice"] == row["HD95_mm"] == ""


def test_regions_and_ignore_label(dataset: Any, tmp_path: Path) -> None:
    labels = {"background": 0, "organs": [1, 2], "liver": 2, "ignore": 3}
    dataset.dataset_json |= {"labels": labels, "regions_class_order": [1, 2]}

    def ignore_border(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[:, :, 9:] = 3
        return values

    for case in dataset.cases:
        rewrite(dataset.references / f"{case}.nii.gz", ignore_border)
    for trainer in (BASE, OURS):
        dataset.write_json(dataset.model_folder(trainer) / "dataset.json", dataset.dataset_json)
        for summary in dataset.model_folder(trainer).glob("fold_*/validation/summary.json"):
            summary.unlink()
    assert main([*CROSSVALIDATION, "-o", str(tmp_path)]) == 0
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    rows = read_csv(tmp_path / "cases.csv")
    assert {row["label"] for row in rows} == {"organs", "liver"}
    for row in rows:
        region = (1, 2) if row["label"] == "organs" else 2
        expected = compute_metrics(
            str(dataset.references / f"{row['case']}.nii.gz"),
            str(dataset.prediction(row["model"], row["case"])),
            SimpleITKIO(),
            [region],
            ignore_label=3,
        )["metrics"][region]["Dice"]
        assert row["Dice"] == ("" if math.isnan(expected) else repr(float(expected)))


def test_a_request_has_a_title_and_notes_of_its_own(dataset: Any, tmp_path: Path) -> None:
    shutil.rmtree(dataset.model_folder(OURS) / "fold_1")
    models = [ModelSource(BASE), ModelSource(OURS)]
    about = {"title": "What {n} is.", "notes": ["Read this first."]}
    request = CompareCrossValidation(models=models, dataset="901", common=True, processes=1, **about)
    write_comparison(compare_models(request), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert written["title"] == "What {n} is. Dataset901_Blobs: 4 cases of the cross-validation"
    assert written["notes"][0] == "Read this first."
    assert written["notes"][1].startswith("cut to the 4 cases in common")


# what does not line up


def test_missing_fold_is_refused_and_can_be_left_out(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(dataset.model_folder(OURS) / "fold_1")
    message = refused(capsys, CROSSVALIDATION)
    assert f"{OURS} has no predictions of fold 1" in message
    assert "case_2, case_3" in message
    assert "--common" in message
    assert main([*CROSSVALIDATION, "--folds", "0", "2"]) == 0
    capsys.readouterr()
    assert main([*CROSSVALIDATION, "--common"]) == 0
    assert "cut to the 4 cases in common, of 6" in capsys.readouterr().out


def test_missing_prediction_is_refused(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.prediction(BASE, "case_4").unlink()
    message = refused(capsys, CROSSVALIDATION)
    assert f"{BASE} lacks predictions" in message
    assert "case_4" in message


def test_missing_reference_is_refused(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset.references / "case_5.nii.gz").unlink()
    message = refused(capsys, CROSSVALIDATION)
    assert f"no reference in {dataset.references}: case_5" in message


def test_other_folds_are_refused(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    here = dataset.prediction(OURS, "case_0")
    shutil.move(here, here.parents[2] / "fold_1" / "validation" / here.name)
    message = refused(capsys, CROSSVALIDATION)
    assert f"{OURS} predicts in fold 1 what belongs to fold 0" in message


def test_other_references_are_refused(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = dataset.model_folder(OURS) / "fold_0" / "validation" / "summary.json"
    content = json.loads(path.read_text())
    content["metric_per_case"][0]["metrics"]["1"]["n_ref"] += 7
    dataset.write_json(path, content)
    assert "different references: case_0" in refused(capsys, CROSSVALIDATION)


def test_a_case_predicted_twice_is_refused(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    here = dataset.prediction(OURS, "case_0")
    shutil.copy(here, here.parents[2] / "fold_2" / "validation" / here.name)
    assert "case_0 is predicted twice" in refused(capsys, CROSSVALIDATION)


def test_unknown_model_lists_what_there_is(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, ["compare", "-d", "901", "nnUNetTrainerTypo"])
    assert "nnUNetTrainerTypo" in message
    assert f"{OURS}__nnUNetPlans__3d_fullres" in message


def test_unknown_baseline_and_dataset_are_refused(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "baseline 'U-Net' is not among" in refused(capsys, [*CROSSVALIDATION, "--baseline", "U-Net"])
    assert "902" in refused(capsys, ["compare", "-d", "902"])


# bad files: each is named, and the rest is finished only if asked to


def _corrupt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def _not_whole(path: Path) -> None:
    rewrite(path, lambda labels: labels.astype(np.float32) + 0.5)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_corrupt, "cannot be read"),
        (_not_whole, "expected whole numbers"),
        (lambda path: rewrite(path, lambda a: a, spacing=(0.5, 1.0, 2.0)), r"has spacing \(mm\)"),
        (lambda path: rewrite(path, lambda a: a, origin=(0.0, 0.0, 9.0)), "has origin"),
        (lambda path: rewrite(path, lambda a: a[:-1]), r"has shape \(9, 16, 20\)"),
        (lambda path: rewrite(path, lambda a: np.where(a == 2, 7, a)), r"label values \[7\]"),
    ],
)
def test_bad_file_is_named_and_skipped_only_on_request(
    dataset: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, spoil: Any, complaint: str
) -> None:
    bad = dataset.prediction(OURS, "case_2")
    spoil(bad)
    message = refused(capsys, CROSSVALIDATION)
    assert re.search(re.escape(str(bad)) + ".*" + complaint, message)
    assert "--skip-bad" in message
    assert main([*CROSSVALIDATION, "--skip-bad", "-o", str(tmp_path)]) == 0
    assert "1 of 6 cases left out" in capsys.readouterr().out
    rows = read_csv(tmp_path / "cases.csv")
    assert len(rows) == 2 * 5 * 2
    assert "case_2" not in {row["case"] for row in rows}


def test_unreadable_summary_and_folder_are_named(
    dataset: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = dataset.model_folder(OURS) / "fold_0" / "validation" / "summary.json"
    path.write_text("{")
    assert str(path) in refused(capsys, CROSSVALIDATION)
    nowhere = tmp_path / "nowhere"
    arguments = ["compare", "-d", "901", BASE, str(nowhere)]
    assert str(nowhere) in refused(capsys, arguments)
    nowhere.mkdir()
    assert f"{nowhere}: no predictions" in refused(capsys, arguments)


def test_a_single_case_cannot_tell(dataset: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for trainer in (BASE, OURS):
        for case in dataset.cases[1:]:
            dataset.prediction(trainer, case).unlink()
    arguments = [*CROSSVALIDATION, "--common", "-o", str(tmp_path)]
    assert main(arguments) == 0
    differences = json.loads((tmp_path / "summary.json").read_text())["differences"][OURS]["kidney"]["Dice"]
    assert (differences["n"], differences["ci_low"], differences["verdict"]) == (
        1,
        None,
        "too few cases to tell",
    )


# test sets and labels matched by name


def test_test_set_mode_gives_the_same_values(dataset: Any, tmp_path: Path) -> None:
    folders = {"A": dataset.copy_predictions(BASE, tmp_path / "a"), "B": dataset.copy_predictions(OURS, tmp_path / "b")}
    assert main([*dataset.test_set_arguments(**folders), "-o", str(tmp_path / "out")]) == 0
    assert main([*CROSSVALIDATION, "-o", str(tmp_path / "cv")]) == 0
    ours, theirs = (read_csv(tmp_path / name / "cases.csv") for name in ("out", "cv"))
    names = {"A": BASE, "B": OURS}
    assert {row["fold"] for row in ours} == {""}
    assert [row["fold"] for row in theirs[::2]] == 2 * ["0", "0", "1", "1", "2", "2"]
    assert [row | {"model": names[row["model"]], "fold": ""} for row in ours] == [row | {"fold": ""} for row in theirs]


def test_test_set_mode_refuses_other_labels(dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = dataset.copy_predictions(BASE, tmp_path / "a")
    dataset.write_json(folder / "dataset.json", {"labels": {"background": 0, "spleen": 1}})
    assert "--match-labels-by-name" in refused(capsys, dataset.test_set_arguments(A=folder))


def test_labels_are_matched_by_name(dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model with the liver as 1 and two halves of the kidney as 5 and 6 is measured like the original."""
    folder = dataset.copy_predictions(BASE, tmp_path / "a")

    def relabel(labels: np.ndarray) -> np.ndarray:
        halves = np.where(np.arange(labels.shape[0])[:, None, None] < 4, 5, 6)
        return np.where(labels == 1, halves, np.where(labels == 2, 1, 0)).astype(np.uint8)

    for path in folder.glob("*.nii.gz"):
        rewrite(path, relabel)
    foreign = {"background": 0, "Liver": 1, "spleen": 2, "kidney_right": 5, "kidney_left": 6}
    foreign |= {"filler_3": 3, "filler_4": 4}
    dataset.write_json(folder / "dataset.json", {"labels": foreign})
    arguments = [*dataset.test_set_arguments(A=folder), "--match-labels-by-name"]
    assert main([*arguments, "-o", str(tmp_path / "plain")]) == 0
    assert {row["label"] for row in read_csv(tmp_path / "plain" / "cases.csv")} == {"liver"}
    assert "kidney (not in A)" in capsys.readouterr().out
    label_map = tmp_path / "map.json"
    dataset.write_json(label_map, {"kidney": [["kidney right", "kidney left"]]})
    assert main([*arguments, "--label-map", str(label_map), "-o", str(tmp_path / "mapped")]) == 0
    assert main([*CROSSVALIDATION[:4], *CROSSVALIDATION[5:], "-o", str(tmp_path / "own")]) == 0
    mapped, own = (
        {(row["case"], row["label"]): row["Dice"] for row in read_csv(tmp_path / name / "cases.csv")}
        for name in ("mapped", "own")
    )
    assert mapped == own
    dataset.write_json(label_map, {"kidney": "kidney right"})
    assert str(label_map) in refused(capsys, [*arguments, "--label-map", str(label_map)])


def test_a_flat_folder_joins_the_cross_validation(dataset: Any, tmp_path: Path) -> None:
    """Predictions of a model that knows neither nnU-Net nor folds; the folds are then the other model's."""
    folder = dataset.copy_predictions(OURS, tmp_path / "foreign")
    assert main([*CROSSVALIDATION[:4], f"foreign={folder}", "-np", "1", "-o", str(tmp_path / "out")]) == 0
    summaries = json.loads((tmp_path / "out" / "summary.json").read_text())["summaries"]
    assert sorted(summaries["foreign"]["liver"]["Dice"]["fold_means"]) == ["0", "1", "2"]
    next(folder.glob("*.nii.gz")).unlink()
    assert main([*CROSSVALIDATION[:4], f"foreign={folder}"]) == 2


def test_a_cache_that_cannot_be_written_does_no_harm(dataset: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert main([*CROSSVALIDATION, "--cache", str(tmp_path / "file" / "cache"), "-o", str(tmp_path / "out")]) == 0
    assert len(read_csv(tmp_path / "out" / "cases.csv")) == 24
