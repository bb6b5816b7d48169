"""Few-shot folds: nested, seeded, by labels, appended without renumbering."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunetv2_masam.cli import main
from nnunetv2_masam.folds.few_shot import (
    add_few_shot_folds,
    choose_cases,
    fold_map,
    labels_of_cases,
    read_few_shot_folds,
)
from tests.nnunet import stock_split

LABELS = {
    "a": frozenset({"liver"}),
    "b": frozenset({"liver"}),
    "c": frozenset({"liver", "kidney"}),
    "d": frozenset({"tumour"}),
    "e": frozenset({"liver", "kidney"}),
    "f": frozenset(),
}
SPLITS = [
    {"train": ["a", "b", "c", "d"], "val": ["e", "f"]},
    {"train": ["c", "d", "e", "f"], "val": ["a", "b"]},
]


@pytest.mark.parametrize("seed", range(5))
def test_choice_is_nested_and_covers_labels_first(seed: int) -> None:
    chosen = choose_cases(LABELS, 6, seed)
    for count in range(1, 6):
        assert choose_cases(LABELS, count, seed) == chosen[:count]
    assert chosen[0] in "ce"
    assert chosen[1] == "d"
    assert chosen[-1] == "f"


def test_choice_depends_on_the_seed_alone() -> None:
    alike = {name: frozenset({"liver"}) for name in "abcdefgh"}
    assert choose_cases(alike, 4, 1) == choose_cases(dict(reversed(alike.items())), 4, 1)
    assert len({tuple(choose_cases(alike, 4, seed)) for seed in range(5)}) > 1


def test_folds_are_appended_once() -> None:
    splits, folds = add_few_shot_folds(SPLITS, [], LABELS, [1, 3], None, 0)
    assert splits[:2] == SPLITS
    assert [(f.fold, f.k, f.base_fold) for f in folds] == [(2, 1, 0), (3, 1, 1), (4, 3, 0), (5, 3, 1)]
    for entry in folds:
        split = splits[entry.fold]
        assert len(split["train"]) == entry.k
        assert set(split["train"]) <= set(SPLITS[entry.base_fold]["train"])
        assert split["val"] == SPLITS[entry.base_fold]["val"]
    assert set(splits[2]["train"]) < set(splits[4]["train"])
    assert folds[0].missing_labels == ("tumour",)
    assert folds[2].missing_labels == ()
    again = add_few_shot_folds(splits, folds, LABELS, [1, 2, 3], None, 0)
    assert again[0][:6] == splits
    assert [entry.k for entry in again[1]] == [1, 1, 3, 3, 2, 2]


def test_folds_of_more_cases_hold_those_of_fewer() -> None:
    alike = {name: frozenset({"liver"}) for name in "abcdefghijkl"}
    split = {"train": sorted(alike)[:10], "val": ["k", "l"]}
    splits, folds = add_few_shot_folds([split], [], alike, [1, 3, 5], None, 0)
    one, three, five = (splits[entry.fold]["train"] for entry in folds)
    assert three[:1] == one
    assert five[:3] == three


def test_too_many_cases_and_unknown_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="fold 0 has 4 training cases"):
        add_few_shot_folds(SPLITS, [], LABELS, [5], None, 0)
    splits, folds = add_few_shot_folds(SPLITS, [], LABELS, [1], None, 0)
    with pytest.raises(ValueError, match=r"has the folds \[0, 1\]"):
        add_few_shot_folds(splits, folds, LABELS, [1], [2], 0)


def test_folds_that_validate_on_training_cases_are_refused() -> None:
    splits = [{"train": ["a", "b", "e"], "val": ["e", "f"]}, SPLITS[1]]
    with pytest.raises(ValueError, match=r"validation cases that are also training cases: fold 0: e\. Correct"):
        add_few_shot_folds(splits, [], LABELS, [1], None, 0)
    assert len(add_few_shot_folds(splits, [], LABELS, [1], [1], 0)[0]) == 3


def test_fold_map_asks_for_the_seed_where_there_are_several() -> None:
    splits, folds = add_few_shot_folds(SPLITS, [], LABELS, [1], None, 0)
    _, folds = add_few_shot_folds(splits, folds, LABELS, [1], None, 7)
    with pytest.raises(ValueError, match="@k1s0"):
        fold_map(folds, 1)
    assert fold_map(folds, 1, 7) == {4: 0, 5: 1}
    with pytest.raises(ValueError, match="no few-shot folds with k = 9"):
        fold_map(folds, 9)


def test_command_and_comparison(dataset: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Few-shot folds are compared with the full ones over the same cases, and do not disturb the others."""
    assert main(["few-shot", "-d", "901", "-k", "1", "2"]) == 0
    splits = json.loads((dataset.preprocessed / "splits_final.json").read_text())
    assert splits[:3] == dataset.splits
    assert len(splits) == 9
    folds = read_few_shot_folds(dataset.preprocessed)
    for entry in folds:
        if entry.k == 2:
            source = dataset.model_folder("nnUNetTrainer") / f"fold_{entry.base_fold}"
            shutil.copytree(source, dataset.model_folder("nnUNetTrainerMASAM") / f"fold_{entry.fold}")
    compare = ["compare", "-d", "901", "nnUNetTrainer", "nnUNetTrainerMASAM", "nnUNetTrainerMASAM@k2"]
    assert main([*compare, "-np", "1", "-o", str(tmp_path)]) == 0
    summaries = json.loads((tmp_path / "summary.json").read_text())["summaries"]
    few_shot, full = summaries["nnUNetTrainerMASAM@k2"], summaries["nnUNetTrainer"]
    assert few_shot["kidney"]["Dice"] == full["kidney"]["Dice"]
    assert summaries["nnUNetTrainerMASAM"]["kidney"]["Dice"] != full["kidney"]["Dice"]
    assert main([*compare[:-1], "nnUNetTrainerMASAM@k3"]) == 2
    assert "no few-shot folds with k = 3" in capsys.readouterr().err


def test_without_splits_nnunets_own_are_made(dataset: Any) -> None:
    (dataset.preprocessed / "splits_final.json").unlink()
    assert main(["few-shot", "-d", "901", "-k", "1"]) == 0
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    splits = json.loads((dataset.preprocessed / "splits_final.json").read_text())
    assert splits[:5] == generate_crossval_split(dataset.cases)
    assert len(splits) == 10


def test_nnunet_trains_on_the_appended_folds(dataset: Any) -> None:
    assert main(["few-shot", "-d", "901", "-k", "2", "--folds", "1"]) == 0
    (entry,) = read_few_shot_folds(dataset.preprocessed)
    training, validation = stock_split(dataset.preprocessed, entry.fold, dataset.cases)
    assert len(training) == 2
    assert set(training) <= set(dataset.splits[1]["train"])
    assert validation == dataset.splits[1]["val"]


def test_labels_of_cases_as_numbers_text_and_regions(dataset: Any) -> None:
    """nnU-Net takes label values as text too, and a region is held where one of its values is."""
    files = {case: dataset.references / f"{case}.nii.gz" for case in dataset.cases}
    described = {**dataset.dataset_json, "labels": {"background": 0, "kidney": "1", "both": [1, 2], "none": 7}}
    assert set(labels_of_cases(files, described)[0].values()) == {frozenset({"kidney", "both"})}
    files["case_0"].write_text("no image")
    with pytest.raises(ValueError, match=r"case_0\.nii\.gz: nnU-Net has no reader for it"):
        labels_of_cases(files, described)


def test_a_reader_that_fails_without_a_word_is_named(dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(SimpleITKIO, "read_seg", fail)
    with pytest.raises(ValueError, match=r"case_0\.nii\.gz: cannot be read \(MemoryError\)"):
        labels_of_cases({"case_0": dataset.references / "case_0.nii.gz"}, dataset.dataset_json)


def test_case_names_with_their_ending_are_explained(dataset: Any, capsys: pytest.CaptureFixture[str]) -> None:
    splits = [{part: [f"{case}.nii.gz" for case in cases] for part, cases in fold.items()} for fold in dataset.splits]
    dataset.write_json(dataset.preprocessed / "splits_final.json", splits)
    assert main(["few-shot", "-d", "901", "-k", "1"]) == 2
    assert "case_5.nii.gz. Case names have no .nii.gz" in capsys.readouterr().err
