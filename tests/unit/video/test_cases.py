from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from nnunetv2_masam.video.cases import (
    read_volume,
    split_by_sequence,
    split_evenly,
    write_dataset,
    write_images,
    write_volume,
)
from nnunetv2_masam.video.classes import COLOURS, IDS, MaskReader, VideoClass, classes_of_ids
from nnunetv2_masam.video.frame_map import CaseFrames, FrameMap, Scaling, read_frame_map
from nnunetv2_masam.video.masks import MasksRequest, write_masks
from nnunetv2_masam.video.sequences import find_sequences
from tests.video_files import draw, write_video


def masks(output, predictions, frame_map, kind):
    """Write masks, with the frame map as a file."""
    folder = predictions.parent / "map"
    folder.mkdir(exist_ok=True)
    frame_map.write(folder)
    return write_masks(MasksRequest(predictions, output, folder, **{kind: True}))


@pytest.mark.parametrize(
    ("count", "most", "lengths"), [(149, 50, [50, 50, 49]), (150, 50, [50] * 3), (51, 50, [26, 25]), (3, 50, [3])]
)
def test_parts_are_few_and_even(count, most, lengths):
    parts = split_evenly(count, most)
    assert [part.stop - part.start for part in parts] == lengths
    assert [n for part in parts for n in range(count)[part]] == list(range(count))
    with pytest.raises(ValueError, match="--max-frames 0"):
        split_evenly(count, 0)


def test_folds_keep_sequences_together():
    cases_of = {f"s{n}": [f"s{n}_part01", f"s{n}_part02"] for n in range(15)}
    folds = split_by_sequence(cases_of)
    assert len(folds) == 5
    validated = [case for fold in folds for case in fold["val"]]
    assert sorted(validated) == sorted(case for cases in cases_of.values() for case in cases)
    for fold in folds:
        sequences = {part: {case.split("_")[0] for case in fold[part]} for part in fold}
        assert not sequences["train"] & sequences["val"]
        assert len(fold["train"]) == 24
    assert len(split_by_sequence({"a": ["a1"], "b": ["b1"]})) == 2
    assert split_by_sequence({"a": ["a1", "a2"]}) == []


def test_cases_hold_the_frames_in_order(tmp_path):
    write_video(tmp_path / "videos" / "s", 5)
    cases = write_images(tmp_path / "out", find_sequences(tmp_path / "videos")[0], 3)
    assert cases == {
        "s_part01": CaseFrames("s", ("frame0.png", "frame1.png", "frame2.png"), (24, 32)),
        "s_part02": CaseFrames("s", ("frame3.png", "frame4.png"), (24, 32)),
    }
    for channel in range(3):
        image = sitk.ReadImage(str(tmp_path / "out" / f"s_part02_{channel:04d}.nii.gz"))
        assert image.GetSpacing() == (1, 1, 5)
        expected = [draw(n, (24, 32))[0][..., channel] for n in (3, 4)]
        assert (sitk.GetArrayFromImage(image) == expected).all()


def test_a_failure_leaves_nothing_behind(tmp_path):
    source, target = tmp_path / "videos", tmp_path / "raw" / "Dataset001_V"
    target.parent.mkdir()
    write_video(source / "a", 3)
    write_video(source / "b", 3)
    Image.new("RGB", (8, 8)).save(source / "b" / "frames" / "frame2.png")
    reader = MaskReader(classes_of_ids([1, 2]))
    with pytest.raises(ValueError, match=r"frame2.png: 8 x 8 pixels, but frame0.png of its sequence has 32 x 24"):
        write_dataset(target, find_sequences(source), reader)
    assert list(target.parent.iterdir()) == []
    Image.fromarray(draw(2, (24, 32))[0]).save(source / "b" / "frames" / "frame2.png")
    Image.new("L", (8, 8)).save(source / "b" / "masks" / "frame2.png")
    with pytest.raises(ValueError, match=r"masks.frame2.png: 8 x 8 pixels"):
        write_dataset(target, find_sequences(source), reader)
    with pytest.raises(ValueError, match="nothing to train on"):
        write_dataset(target, find_sequences(source, ["a", "b"]), reader)
    assert list(target.parent.iterdir()) == []
    target.mkdir()
    (target / "kept").write_text("")
    with pytest.raises(ValueError, match="is a folder with files in it"):
        write_dataset(target, find_sequences(source, ["b"]), reader)
    assert [path.name for path in target.iterdir()] == ["kept"]


def test_an_ignored_class_is_nnunets_ignore_label(tmp_path):
    write_video(tmp_path / "videos" / "s", 2, values=(0, 255, 4))
    classes = (VideoClass("background", 0), VideoClass("bar", 4), VideoClass("ignore", 255))
    write_dataset(tmp_path / "Dataset001_V", find_sequences(tmp_path / "videos"), MaskReader(classes))
    content = json.loads((tmp_path / "Dataset001_V" / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "bar": 1, "ignore": 2}
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "Dataset001_V" / "labelsTr" / "s_part01.nii.gz")))
    assert (labels == np.array([0, 2, 1])[[draw(n, (24, 32))[1] for n in range(2)]]).all()


def test_frame_maps_are_read_as_they_were_written(tmp_path):
    classes = (VideoClass("background", 0, (0, 0, 0)), VideoClass("tool", 9))
    frame_map = FrameMap(classes, COLOURS, {"s_part01": CaseFrames("s", ("a.png", "b.jpg"), (9, 7))})
    frame_map.write(tmp_path)
    assert read_frame_map(tmp_path) == read_frame_map(tmp_path / "frames.json") == frame_map
    with pytest.raises(FileNotFoundError, match="`nnUNetv2_masam convert` writes it"):
        read_frame_map(tmp_path / "elsewhere.json")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["masks"], "colors", "masks: got 'colors', expected ids or colours"),
        (["masks"], None, "KeyError: 'masks'"),
        (["classes"], {"tool": 1}, "TypeError"),
        (["classes", 1, "id"], "9", "got '9', expected whole numbers"),
        (["classes", 0, "colour"], [0, 0, 0.5], r"got 0\.5, expected whole numbers"),
        (["scaling", "longest_side"], 51.2, r"got 51\.2, expected whole numbers"),
        (["cases"], [], "AttributeError"),
        (["cases", "s_part01", "sequence"], "../s", "got '../s', expected a plain name"),
        (["cases", "s_part01", "frames", 1], "/b.jpg", r"got '/b\.jpg', expected a plain name"),
        (["cases", "s_part01", "size"], [9, 7, 3], "too many values to unpack"),
    ],
)
def test_damaged_frame_maps_are_refused(tmp_path, place, value, message):
    classes = (VideoClass("background", 0, (0, 0, 0)), VideoClass("tool", 9))
    FrameMap(classes, COLOURS, {"s_part01": CaseFrames("s", ("a.png", "b.jpg"), (9, 7))}).write(tmp_path)
    content = json.loads((tmp_path / "frames.json").read_text())
    entry = content
    for step in place[:-1]:
        entry = entry[step]
    if value is None:
        del entry[place[-1]]
    else:
        entry[place[-1]] = value
    (tmp_path / "frames.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"frames\.json: .*{message}.*convert the videos again"):
        read_frame_map(tmp_path)


def test_masks_are_joined_from_parts(tmp_path):
    """Three classes, ids 0, 40 and 300: sixteen bits."""
    volume = np.random.default_rng(0).integers(0, 3, (3, 4, 5)).astype(np.uint8)
    classes = (VideoClass("background", 0), VideoClass("a", 40), VideoClass("b", 300))
    first, second = CaseFrames("s", ("a.jpg", "b.jpg"), (4, 5)), CaseFrames("s", ("c.jpg",), (4, 5))
    frame_map = FrameMap(classes, IDS, {"s_part01": first, "s_part02": second})
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    write_volume(predictions / "s_part01.nii.gz", volume[:2])
    with pytest.raises(ValueError, match="s_part02 not there, though other parts"):
        masks(tmp_path / "masks", predictions, frame_map, IDS)
    write_volume(predictions / "s_part02.nii.gz", volume[2:])
    assert masks(tmp_path / "masks", predictions, frame_map, IDS) == {"s": 3}
    for name, labels in zip("abc", volume, strict=True):
        found = np.asarray(Image.open(tmp_path / "masks" / "s" / f"{name}.png"))
        assert (found == np.array([0, 40, 300])[labels]).all()
    with pytest.raises(ValueError, match="is a folder with files in it"):
        masks(tmp_path / "masks", predictions, frame_map, IDS)
    with pytest.raises(ValueError, match="no colour for background, a, b"):
        masks(tmp_path / "coloured", predictions, frame_map, COLOURS)
    write_volume(predictions / "s_part02.nii.gz", volume)
    with pytest.raises(ValueError, match=r"shape \(3, 4, 5\), but frames.json lists 1 frames"):
        masks(tmp_path / "again", predictions, frame_map, IDS)
    write_volume(predictions / "t_part01.nii.gz", volume)
    with pytest.raises(ValueError, match=r"frames.json knows no such case"):
        masks(tmp_path / "again", predictions, frame_map, IDS)
    shutil.rmtree(predictions)
    predictions.mkdir()
    with pytest.raises(ValueError, match=r"no files \*.nii.gz"):
        masks(tmp_path / "again", predictions, frame_map, IDS)
    assert not (tmp_path / "again").exists()


def test_cases_can_be_smaller_than_their_frames(tmp_path):
    """Halved and back: labels of blocks of two by two pixels survive, frames are smoothed."""
    labels = np.random.default_rng(0).integers(0, 3, (3, 6, 8)).astype(np.uint8)
    large = labels.repeat(2, 1).repeat(2, 2)
    for folder in ("frames", "masks"):
        (tmp_path / "videos" / "s" / folder).mkdir(parents=True)
    for n, mask in enumerate(large):
        Image.fromarray(np.full((12, 16, 3), 10 * n, np.uint8)).save(tmp_path / "videos" / "s" / "frames" / f"{n}.png")
        Image.fromarray(mask).save(tmp_path / "videos" / "s" / "masks" / f"{n}.png")
    target = tmp_path / "Dataset001_V"
    reader = MaskReader(classes_of_ids([1, 2]))
    frame_map = write_dataset(target, find_sequences(tmp_path / "videos"), reader, scaling=Scaling(size=(6, 8)))
    assert frame_map.cases["s_part01"].size == (12, 16)
    assert (read_volume(target / "labelsTr" / "s_part01.nii.gz") == labels).all()
    assert read_frame_map(target).scaling == Scaling(size=(6, 8))
    red = read_volume(target / "imagesTr" / "s_part01_0000.nii.gz")
    assert red.shape == (3, 6, 8)
    assert (red == np.array([0, 10, 20])[:, None, None]).all()
    masks(tmp_path / "masks", target / "labelsTr", frame_map, IDS)
    assert (np.asarray(Image.open(tmp_path / "masks" / "s" / "1.png")) == large[1]).all()


def test_the_longest_side_is_limited_and_nothing_is_enlarged():
    limited = Scaling(longest_side=512)
    assert limited.of((1024, 1280)) == (410, 512)
    assert limited.of((640, 300)) == (512, 240)
    assert limited.of((64, 80)) == (64, 80)
    assert Scaling().of((1024, 1280)) == (1024, 1280)
