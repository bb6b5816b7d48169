from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from nnunetv2_masam.video.classes import (
    COLOURS,
    IDS,
    MaskReader,
    VideoClass,
    classes_of_ids,
    find_values,
    is_turned,
    read_classes,
    read_frame,
    read_mask_values,
    write_mask,
)

TABLE = (
    VideoClass("background", 0, (0, 0, 0)),
    VideoClass("tool", 7, (1, 2, 3)),
    VideoClass("liver", 300, (255, 254, 253)),
)


def save(path, array, dtype=np.uint8):
    Image.fromarray(np.array(array, dtype)).save(path)
    return path


@pytest.mark.parametrize(
    "content",
    [
        [
            {"name": "tissue", "classid": 0, "color": [0, 0, 0]},
            {"name": "liver", "classid": 300, "color": [255, 254, 253]},
            {"name": "tool", "classid": 7, "color": [1, 2, 3]},
        ],
        {
            "classes": [
                {"name": "tissue", "active": True, "classid": 0, "color": [0, 0, 0, 128]},
                {"name": "tool", "active": True, "classid": 7, "color": [1, 2, 3, 128]},
                {"name": "liver", "active": True, "classid": 300, "color": [255, 254, 253, 128]},
            ]
        },
    ],
)
def test_both_forms_of_endovis_labels_json(tmp_path, content):
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert read_classes(tmp_path / "labels.json") == TABLE


def test_names_with_ids_or_colours(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"ignore": 255, "tool": 7, "background": 9}))
    assert [(c.name, c.id) for c in read_classes(path)] == [("background", 9), ("tool", 7), ("ignore", 255)]
    path.write_text(json.dumps({"tool": [1, 2, 3], "background": [0, 0, 0]}))
    assert read_classes(path) == (VideoClass("background", 1, (0, 0, 0)), VideoClass("tool", 0, (1, 2, 3)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"tool": 1}, "no class is called background or has the id 0"),
        ({"background": 0, "a": 1, "b": 1}, "the id 1 is given to several classes"),
        ({"background": [0, 0, 0], "a": [0, 0, 0]}, r"the colour \(0, 0, 0\) is given"),
        ({"background": [0, 0, 256]}, "numbers from 0 to 255"),
        ([{"name": "a"}], "expected {name: id}.*classid"),
        ("text", "expected {name: id}"),
    ],
)
def test_what_is_wrong_with_labels_json_is_said(tmp_path, content, message):
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_classes(tmp_path / "labels.json")


def test_masks_of_all_kinds_give_the_same_labels(tmp_path):
    labels = np.array([[0, 1, 2], [2, 1, 0]])
    ids = save(tmp_path / "ids.png", np.array([0, 7, 300])[labels], np.uint16)
    colours = np.array([c.colour for c in TABLE])[labels]
    rgb = save(tmp_path / "rgb.png", colours)
    opaque = save(tmp_path / "rgba.png", np.concatenate([colours, np.full((2, 3, 1), 128)], 2))
    palette = tmp_path / "palette.png"
    image = Image.fromarray(labels.astype(np.uint8))  # becomes mode P with the palette
    image.putpalette([part for c in TABLE for part in c.colour])
    image.save(palette)
    for path in (ids, rgb, opaque, palette):
        assert (MaskReader(TABLE).read(path) == labels).all(), path.name
    reader = MaskReader(TABLE)
    reader.read(rgb)
    assert reader.kind == COLOURS
    without_colours = classes_of_ids([1, 2])
    assert (MaskReader(without_colours).read(palette) == labels).all()
    grey = save(tmp_path / "grey.png", np.repeat(labels[..., None], 3, 2))
    assert (MaskReader(without_colours).read(grey) == labels).all()
    with pytest.raises(ValueError, match="holds colours, but the classes have only ids"):
        MaskReader(without_colours).read(rgb)


def test_values_without_a_class_are_refused_or_counted(tmp_path):
    path = save(tmp_path / "mask.png", [[[0, 0, 0], [9, 9, 9], [9, 9, 9], [1, 2, 3], [8, 8, 8]]])
    with pytest.raises(ValueError, match=r"mask.png: 3 pixels hold colours that no class has, mostly \[9, 9, 9\]"):
        MaskReader(TABLE).read(path)
    reader = MaskReader(TABLE, unlisted_as_background=True)
    assert reader.read(path).tolist() == [[0, 0, 0, 1, 0]]
    assert reader.unlisted_pixels == 3
    with pytest.raises(ValueError, match="2 pixels hold ids"):
        MaskReader(TABLE).read(save(tmp_path / "ids.png", [[0, 7, 8, 8]]))


def test_labels_are_written_as_they_were_read(tmp_path):
    labels = np.array([[0, 1, 2]], np.uint8)
    for kind in (IDS, COLOURS):
        write_mask(tmp_path / "mask.png", labels, TABLE, kind)
        assert (MaskReader(TABLE).read(tmp_path / "mask.png") == labels).all()
    assert np.asarray(Image.open(tmp_path / "mask.png")).tolist() == [[[0, 0, 0], [1, 2, 3], [255, 254, 253]]]
    with pytest.raises(ValueError, match="no colour for background, class_1; write masks of ids"):
        write_mask(tmp_path / "mask.png", labels, classes_of_ids([1]), COLOURS)
    with pytest.raises(ValueError, match="label 2, but there are 2 classes"):
        write_mask(tmp_path / "mask.png", labels, classes_of_ids([1]), IDS)


def test_values_are_found_without_labels_json(tmp_path):
    ids = save(tmp_path / "ids.png", [[0, 3]])
    grey = save(tmp_path / "grey.png", [[[5, 5, 5]]])
    colours = save(tmp_path / "rgb.png", [[[5, 5, 6], [0, 0, 0]]])
    assert find_values([ids, grey]) == ({0, 3, 5}, set())
    assert find_values([colours]) == (set(), {(5, 5, 6), (0, 0, 0)})


def test_what_is_no_picture_is_named(tmp_path):
    path = tmp_path / "frame.png"
    path.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"frame.png: cannot be read as an image"):
        read_frame(path)
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3))).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"frame.png: cannot be read as an image"):
        read_frame(path)
    with pytest.raises(ValueError, match=r"image mode I(;16)?, expected RGB"):
        read_frame(save(tmp_path / "deep.png", [[1, 2]], np.uint16))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_pictures_are_turned_upright_as_their_exif_says(tmp_path, orientation, ending):
    """Viewers and labelling tools do so: stored pixels are turned, not what people see."""
    seen = np.zeros((16, 24, 3), np.uint8)
    seen[:8, :8] = 200, 0, 0
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation → Image.Transpose that stores a picture so
    stored = Image.fromarray(seen)
    if orientation in undo:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{ending}", exif=exif, **({"quality": 98, "subsampling": 0} if ending == "jpg" else {}))
    read = read_frame(tmp_path / f"a.{ending}")
    assert read.shape == seen.shape
    assert abs(read.astype(int) - seen).mean() < 3
    assert is_turned(tmp_path / f"a.{ending}") == (orientation != 1)
    labels = Image.fromarray((seen[..., 0] > 0).astype(np.uint8))
    labels = labels.transpose(Image.Transpose(undo[orientation])) if orientation in undo else labels
    labels.save(tmp_path / "mask.png", exif=exif)
    values, _ = read_mask_values(tmp_path / "mask.png", palettes_are_colours=False)
    assert np.array_equal(values, seen[..., 0] > 0)
