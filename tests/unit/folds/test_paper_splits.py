"""Fixed folds: appended once, before or after preprocessing, and kept apart from the cross-validation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nnunetv2_masam.cli import main
from nnunetv2_masam.evaluation.places import find_splits
from nnunetv2_masam.folds.few_shot import add_few_shot_folds, read_few_shot_folds
from nnunetv2_masam.folds.fixed import FixedFold, append_fixed_folds, read_fixed_folds
from nnunetv2_masam.folds.paper_splits import SPLITS, msd_pancreas_paper
from nnunetv2_masam.folds.requests import PUBLISHED_SPLITS
from tests.unit.datasets.conftest import Folders, label_array, write_volume

CASES = [f"case{number}" for number in range(10)]
FOLD = {"train": CASES[1:4], "val": CASES[:1]}


def test_appended_once_behind_nnunets_own(tmp_path: Path) -> None:
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    preprocessed = tmp_path / "Dataset001_Test"
    assert append_fixed_folds(preprocessed, CASES, {"one": FOLD}) == [FixedFold(5, "one")]
    first = json.loads((preprocessed / "splits_final.json").read_text())
    assert first[:5] == generate_crossval_split(CASES)
    assert first[5:] == [FOLD]
    found = append_fixed_folds(preprocessed, CASES, {"one": FOLD, "two": {"train": ["case1"], "val": ["case2"]}})
    assert found == [FixedFold(5, "one"), FixedFold(6, "two")] == read_fixed_folds(preprocessed)
    assert json.loads((preprocessed / "splits_final.json").read_text())[:6] == first


def test_interrupted_writing_is_mended(tmp_path: Path) -> None:
    append_fixed_folds(tmp_path, CASES, {"one": FOLD})
    splits = json.loads((tmp_path / "splits_final.json").read_text())
    (tmp_path / "splits_final.json").write_text(json.dumps(splits[:5]))
    assert append_fixed_folds(tmp_path, CASES, {"two": FOLD}) == [FixedFold(5, "two")]
    assert read_fixed_folds(tmp_path) == [FixedFold(5, "two")]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train": ["case1", "other"], "val": ["case2"]}, "does not have: other; it has 10, such as case0"),
        ({"train": ["case1", "case2"], "val": ["case2"]}, "both for training and for validation: case2"),
        ({"train": ["case1"], "val": []}, "no case for val"),
    ],
)
def test_impossible_folds(tmp_path: Path, split: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        append_fixed_folds(tmp_path / "new", CASES, {"one": split})
    assert not (tmp_path / "new").exists()


def test_too_few_cases_for_the_cross_validation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 training cases are too few"):
        append_fixed_folds(tmp_path, CASES[:4], {"one": FOLD})


def test_pancreas() -> None:
    """The five test sets are disjoint and make up all 281 cases of the dataset."""
    numbers = set(range(1, 422))
    folds = [
        msd_pancreas_paper([f"pancreas_{number:03d}" for number in sorted(numbers)])[f"msd-pancreas-paper-{fold}"]
        for fold in range(5)
    ]
    tested = [case for fold in folds for case in fold["val"]]
    assert len(tested) == len(set(tested)) == 281
    folds = list(msd_pancreas_paper(tested).values())
    assert [(len(fold["train"]), len(fold["val"])) for fold in folds] == [(196, 57)] * 4 + [(200, 53)]
    assert all(not set(fold["train"]) & set(fold["val"]) for fold in folds)
    assert folds[0]["val"][:3] == ["pancreas_006", "pancreas_010", "pancreas_015"]


def test_every_split_has_its_line_of_help() -> None:
    assert list(PUBLISHED_SPLITS) == list(SPLITS)


@pytest.fixture
def dataset(folders: Folders) -> Folders:
    """A preprocessed dataset with BTCV's case names, whose splits nnU-Net has made."""
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    cases = [f"BTCV_{number:04d}" for number in range(30, 41)]
    preprocessed = folders.preprocessed / "Dataset017_BTCV"
    for case in cases:
        write_volume(preprocessed / "gt_segmentations" / f"{case}.nii.gz", label_array((1,)))
    description = {"labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
    (preprocessed / "dataset.json").write_text(json.dumps(description))
    splits = generate_crossval_split(cases)
    (preprocessed / "splits_final.json").write_text(json.dumps(splits, default=str))
    return folders


def test_command_after_preprocessing(dataset: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    preprocessed = dataset.preprocessed / "Dataset017_BTCV"
    (preprocessed / "gt_segmentations" / "._BTCV_0030.nii.gz").touch()  # as macOS leaves in archives
    before = json.loads((preprocessed / "splits_final.json").read_text())
    assert main(["fixed-folds", "btcv-paper", "-d", "17"]) == 0
    assert "fold 5: btcv-paper" in capsys.readouterr().out
    splits = json.loads((preprocessed / "splits_final.json").read_text())
    assert splits[:5] == before
    assert splits[5]["val"] == [f"BTCV_{number:04d}" for number in range(35, 41)]
    assert splits[5]["train"] == [f"BTCV_{number:04d}" for number in range(30, 35)]
    assert main(["fixed-folds", "msd-pancreas-paper", "-d", "17"]) == 2
    assert "split msd-pancreas-paper-0: cases that the dataset does not have" in capsys.readouterr().err


def test_not_part_of_the_cross_validation(dataset: Folders) -> None:
    """Neither ``compare`` nor ``few-shot`` counts them in, unless they are asked for."""
    assert main(["fixed-folds", "btcv-paper", "-d", "17"]) == 0
    assert sorted(find_splits("Dataset017_BTCV") or {}) == [0, 1, 2, 3, 4]
    assert sorted(find_splits("Dataset017_BTCV", [5]) or {}) == [0, 1, 2, 3, 4, 5]
    assert main(["few-shot", "-d", "17", "-k", "1"]) == 0
    preprocessed = dataset.preprocessed / "Dataset017_BTCV"
    assert [entry.base_fold for entry in read_few_shot_folds(preprocessed)] == [0, 1, 2, 3, 4]
    assert main(["few-shot", "-d", "17", "-k", "2", "--folds", "5"]) == 0
    entry = read_few_shot_folds(preprocessed)[-1]
    splits = json.loads((preprocessed / "splits_final.json").read_text())
    assert entry.base_fold == 5
    assert splits[entry.fold]["val"] == splits[5]["val"]
    assert set(splits[entry.fold]["train"]) < set(splits[5]["train"])


def test_compare_over_the_papers_fold(dataset: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model with results of the cross-validation's fold 0 and of fold 5 is compared over the one asked for."""
    assert main(["fixed-folds", "btcv-paper", "-d", "17"]) == 0
    preprocessed = dataset.preprocessed / "Dataset017_BTCV"
    splits = json.loads((preprocessed / "splits_final.json").read_text())
    for trainer in ("nnUNetTrainer", "nnUNetTrainerMASAM"):
        folder = dataset.results / "Dataset017_BTCV" / f"{trainer}__nnUNetPlans__3d_fullres"
        for fold in (0, 5):
            for case in splits[fold]["val"]:
                target = folder / f"fold_{fold}" / "validation" / f"{case}.nii.gz"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(preprocessed / "gt_segmentations" / target.name, target)
    for fold in (0, 5):
        output = tmp_path / str(fold)
        assert main(["compare", "-d", "17", "--folds", str(fold), "-np", "1", "--no-cache", "-o", str(output)]) == 0
        rows = (output / "cases.csv").read_text().splitlines()[1:]
        assert {row.split(",")[1] for row in rows} == set(splits[fold]["val"])
        assert f"{len(splits[fold]['val'])} cases of fold {fold}" in capsys.readouterr().out


def test_few_shot_keeps_fixed_folds_out() -> None:
    labels = {case: frozenset({"organ"}) for case in CASES}
    splits = [{"train": CASES[:5], "val": CASES[5:]}, {"train": CASES[5:], "val": CASES[:5]}, FOLD]
    _, folds = add_few_shot_folds(splits, [], labels, [1], None, 0, fixed_folds={2})
    assert [entry.base_fold for entry in folds] == [0, 1]
