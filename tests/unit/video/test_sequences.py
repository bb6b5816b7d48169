from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from nnunetv2_masam.video.sequences import find_classes, find_frames, find_sequences
from tests.video_files import COLOURS, write_video


@pytest.fixture
def source(tmp_path):
    """Sequences 2 and 10 with masks, in two of the folder names, and "new" without."""
    folder = tmp_path / "videos"
    write_video(folder / "s10", 12)
    write_video(folder / "s2", 3, frames="images", masks="labels", name="f{:d}.png")
    write_video(folder / "new", 2, values=None)
    (folder / "readme.txt").write_text("not a sequence")
    (folder / "__MACOSX" / "s2" / "frames").mkdir(parents=True)
    return folder


def test_sequences_and_frames_are_in_the_order_of_their_numbers(source):
    sequences = find_sequences(source)
    assert [(s.name, len(s.frames), s.test) for s in sequences] == [
        ("new", 2, True),
        ("s2", 3, False),
        ("s10", 12, False),
    ]
    last = sequences[-1]
    assert [path.name for path in last.frames] == [f"frame{n}.png" for n in range(12)]
    assert [path.name for path in last.masks] == [f"frame{n}.png" for n in range(12)]
    assert sequences[0].masks is None


def test_sequences_can_be_kept_for_testing(source):
    assert {s.name: (s.test, s.masks is None) for s in find_sequences(source, ["s2"])} == {
        "new": (True, True),
        "s2": (True, False),
        "s10": (False, False),
    }
    with pytest.raises(ValueError, match="--test s3: there are new, s2, s10"):
        find_sequences(source, ["s3"])


def test_another_layout_is_refused_with_the_expected_one(tmp_path, source):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        find_sequences(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no folder in it has a folder frames or images. Expected:\n\nSRC/\n"):
        find_sequences(source / "s2")
    shutil.rmtree(source / "new" / "frames")
    (source / "new" / "frames").mkdir()
    with pytest.raises(ValueError, match=r"frames: no pictures \(.png, .jpg, .jpeg\)"):
        find_sequences(source)


def test_frames_and_masks_must_match(source):
    (source / "s10" / "masks" / "frame3.png").rename(source / "s10" / "masks" / "mask3.png")
    message = r"1 of 12 frames have no mask \(frame3.png\) and 1 masks no frame \(mask3\)"
    with pytest.raises(ValueError, match=message):
        find_sequences(source)


def test_long_lists_of_frames_are_cut_and_say_so(source):
    for number in range(6):
        (source / "s10" / "masks" / f"frame{number}.png").rename(source / "s10" / "masks" / f"mask{number}.png")
    names = ", ".join(f"frame{number}.png" for number in range(4))
    with pytest.raises(ValueError, match=rf"6 of 12 frames have no mask \({names} and 2 more\) and 6 masks .* 2 more"):
        find_sequences(source)


def test_pictures_of_one_name_are_refused(source):
    Image.new("RGB", (32, 24)).save(source / "s2" / "images" / "f1.jpg")
    with pytest.raises(ValueError, match="several pictures are called f1;"):
        find_sequences(source)
    for number in range(5):
        for ending in ("jpg", "png"):
            Image.new("RGB", (32, 24)).save(source / "s2" / "images" / f"g{number}.{ending}")
    with pytest.raises(ValueError, match="several pictures are called f1, g0, g1, g2 and 2 more;"):
        find_sequences(source)


def test_classes_come_from_labels_json_or_from_the_ids(source):
    assert [c.name for c in find_classes(source, find_sequences(source))] == ["background", "class_1", "class_2"]
    (source / "labels.json").write_text(json.dumps({"ground": 0, "disc": 1, "bar": 2}))
    assert [c.name for c in find_classes(source, find_sequences(source))] == ["background", "disc", "bar"]


def test_colours_need_a_labels_json(tmp_path):
    write_video(tmp_path / "videos" / "s1", 2, values=tuple(COLOURS.values()))
    with pytest.raises(ValueError, match=r'hold 3 colours. .*"class_0": \[0, 0, 0\], "class_1": \[10, 10, 200\]'):
        find_classes(tmp_path / "videos", find_sequences(tmp_path / "videos"))


def test_frames_to_predict(source, tmp_path):
    assert {s.name: len(s.frames) for s in find_frames(source)} == {"new": 2, "s2": 3, "s10": 12}
    alone = find_frames(source / "s10" / "frames")
    assert [(s.name, len(s.frames)) for s in alone] == [("frames", 12)]
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(source / "s10" / "x.JPG")
    assert [(s.name, s.frames[0].name) for s in find_frames(source / "s10")] == [("s10", "x.JPG")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        find_frames(tmp_path / "empty")
