from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from nnunetv2_masam.video.endovis18 import CLASSES, find_endovis18
from tests.video_files import write_endovis18


@pytest.fixture
def source(tmp_path):
    write_endovis18(tmp_path / "endovis18")
    return tmp_path / "endovis18"


def by_name(source):
    sequences, notes = find_endovis18(source)
    return {s.name: s for s in sequences}, notes


def test_training_and_test_sequences_are_told_apart(source):
    sequences, notes = by_name(source)
    assert {name: s.test for name, s in sequences.items()} == {
        "train_seq_1": False,
        "train_seq_2": False,
        "train_seq_10": False,
        "test_seq_1": True,
    }
    assert list(sequences) == ["train_seq_1", "train_seq_2", "train_seq_10", "test_seq_1"]
    assert notes == []
    assert [p.name for p in sequences["train_seq_1"].frames] == [f"frame{n:03d}.png" for n in range(4)]
    assert "test_data" in str(sequences["test_seq_1"].frames[0])


def test_twelve_classes_in_the_order_of_their_ids():
    assert [c.id for c in CLASSES] == list(range(12))
    assert len({c.colour for c in CLASSES}) == 12


def test_the_authors_folders_are_read_too(tmp_path, source):
    arranged = tmp_path / "arranged"
    arranged.mkdir()
    shutil.move(source / "test_data" / "test_data" / "seq_1-2018Z-001", arranged / "Test")
    shutil.move(source / "miccai_challenge_release_3", arranged / "Train")
    assert {name: s.test for name, s in by_name(arranged)[0].items()} == {"train_seq_10": False, "test_seq_1": True}


def test_repairs_replace_labels_of_training_sequences(source):
    repairs = source / "repairs" / "repairs"
    repairs.mkdir(parents=True)
    Image.new("RGB", (32, 24)).save(repairs / "seq_1_frame002.png")
    sequences, notes = by_name(source)
    assert sequences["train_seq_1"].masks[2] == repairs / "seq_1_frame002.png"
    assert sequences["train_seq_1"].masks[1].parent.name == "labels"
    assert all(mask.parent.name == "labels" for mask in sequences["test_seq_1"].masks)
    assert notes == ["train_seq_1: 1 repaired labels replace the first ones"]
    Image.new("RGB", (32, 24)).save(repairs / "seq_2_frame099.png")
    with pytest.raises(ValueError, match=r"repairs for frames that are not there: .*seq_2_frame099.png"):
        find_endovis18(source)


def test_frames_without_labels_are_left_out_and_told(source):
    shutil.rmtree(source / "miccai_challenge_release_3" / "seq_10" / "labels")
    (source / "test_data" / "test_data" / "seq_1-2018Z-001" / "seq_1" / "labels" / "frame003.png").unlink()
    sequences, notes = by_name(source)
    assert len(sequences["test_seq_1"].frames) == 3
    assert sequences["train_seq_10"].test
    assert notes == [
        "train_seq_10: has no labels and is taken as a test sequence",
        "test_seq_1: 1 of 4 frames have no labels and are left out",
    ]


def test_another_layout_or_other_classes_are_refused(tmp_path, source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no folder seq_N with a folder left_frames below it. Expected"):
        find_endovis18(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        find_endovis18(tmp_path / "nowhere")
    shutil.copytree(source / "miccai_challenge_release_3", source / "again")
    with pytest.raises(ValueError, match="several folders are the sequence train_seq_10"):
        find_endovis18(source)
    shutil.rmtree(source / "again")
    table = [{"name": "background", "classid": 0, "color": [0, 0, 0]}, {"name": "a", "classid": 1, "color": [1, 1, 1]}]
    (source / "labels.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match=r"a has the id 1 and the colour \[1, 1, 1\].*convert video"):
        find_endovis18(source)
