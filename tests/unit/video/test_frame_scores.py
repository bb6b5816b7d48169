"""Expected values are computed by hand.

Two frames of 1 x 10 pixels, classes 0 (background), 1, 2, 3:

    frame 0   reference   0 0 0 0 1 1 1 1 2 2        frame 1   reference   0 0 0 0 0 0 0 0 1 1
              prediction  0 0 0 1 1 1 1 0 2 3                  prediction  0 0 0 0 0 0 0 2 1 1

    IoU       class 0  3/5    class 1  3/5                     class 0  7/8    class 1  1
              class 2  1/2    class 3  0 (predicted only)      class 2  0 (predicted only)
    Dice      class 0  6/8    class 1  6/8                     class 0  14/15  class 1  1
              class 2  2/3    class 3  0                       class 2  0
"""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_masam.video.frame_scores import as_markdown, count_frames, join, score, score_classes, score_video

REFERENCE = np.array([[[0, 0, 0, 0, 1, 1, 1, 1, 2, 2]], [[0, 0, 0, 0, 0, 0, 0, 0, 1, 1]]])
PREDICTION = np.array([[[0, 0, 0, 1, 1, 1, 1, 0, 2, 3]], [[0, 0, 0, 0, 0, 0, 0, 2, 1, 1]]])
NAMES = ["background", "one", "two", "three"]


def counts(reference=REFERENCE, prediction=PREDICTION, ignore=None):
    return count_frames(reference, prediction, 4, ignore)


def test_pixels_are_counted():
    found = counts()
    assert found.both.tolist() == [[3, 3, 1, 0], [7, 2, 0, 0]]
    assert found.reference.tolist() == [[4, 4, 2, 0], [8, 2, 0, 0]]
    assert found.prediction.tolist() == [[4, 4, 1, 1], [7, 2, 1, 0]]
    assert np.isnan(found.values("iou")[1, 3])


@pytest.mark.parametrize(
    ("variant", "iou", "dice"),
    [
        ("challenge", ((3 / 5 + 1 / 2) / 2 + 1) / 2, ((3 / 4 + 2 / 3) / 2 + 1) / 2),
        ("with_background", ((3 / 5 + 3 / 5 + 1 / 2) / 3 + (7 / 8 + 1) / 2) / 2, None),
        ("isi", ((3 / 5 + 1 / 2 + 0) / 3 + (1 + 0) / 2) / 2, ((3 / 4 + 2 / 3 + 0) / 3 + (1 + 0) / 2) / 2),
        ("mean_class", ((3 / 5 + 1) / 2 + (1 / 2 + 0) / 2 + 0) / 3, ((3 / 4 + 1) / 2 + (2 / 3 + 0) / 2 + 0) / 3),
        ("pooled", (5 / 7 + 1 / 3 + 0) / 3, (10 / 12 + 2 / 4 + 0) / 3),
    ],
)
def test_variants(variant, iou, dice):
    found = score(counts())[variant]
    assert found["iou"] == pytest.approx(iou, abs=1e-12)
    if dice is not None:
        assert found["dice"] == pytest.approx(dice, abs=1e-12)


def test_classes():
    found = score_classes(counts(), NAMES)
    assert found["one"]["frames"] == 2
    assert found["two"]["frames"] == 1
    assert found["two"]["challenge"]["iou"] == pytest.approx(1 / 2)
    assert found["two"]["mean_class"]["iou"] == pytest.approx(1 / 4)
    assert found["two"]["pooled"]["iou"] == pytest.approx(1 / 3)
    assert found["background"]["pooled"]["iou"] == pytest.approx(10 / 13)
    assert found["three"]["challenge"] == {"iou": None, "dice": None}
    assert found["three"]["mean_class"]["dice"] == 0


def test_a_frame_without_foreground():
    empty, one = np.zeros((1, 1, 4), int), np.array([[[0, 0, 0, 1]]])
    right, wrong = score(counts(empty, empty)), score(counts(empty, one))
    assert right["challenge"]["iou"] == right["isi"]["iou"] == right["with_background"]["iou"] == 1
    assert right["mean_class"]["iou"] is right["pooled"]["iou"] is None
    assert wrong["challenge"]["dice"] == wrong["isi"]["dice"] == wrong["mean_class"]["dice"] == 0
    assert wrong["with_background"]["iou"] == pytest.approx(3 / 4)


def test_ignored_pixels_do_not_count():
    reference = REFERENCE.copy()
    reference[0, 0, [3, 7, 9]] = 4  # the three mistakes of frame 0
    reference[1, 0, 7] = 4
    found = score(counts(reference, ignore=4))
    assert all(values == {"iou": 1, "dice": 1} for values in found.values())


def test_sequences_and_their_mean():
    first, second = (counts(REFERENCE[n : n + 1], PREDICTION[n : n + 1]) for n in (0, 1))
    report = score_video({"a": first, "b": join([second, second])}, NAMES)
    a, b = report["sequences"]["a"], report["sequences"]["b"]
    assert (report["frames"], a["frames"], b["frames"]) == (3, 1, 2)
    assert a["challenge"]["iou"] == pytest.approx(0.55)
    assert report["mean_over_sequences"]["challenge"]["iou"] == pytest.approx((0.55 + 1) / 2)
    assert report["overall"]["challenge"]["iou"] == pytest.approx((0.55 + 1 + 1) / 3)
    tables = as_markdown(report)
    assert "| challenge | 85.00 |" in tables
    assert "| a | 1 | 55.00 | 70.83 |" in tables
    assert "| three | 0 |  |  | 0.00 | 0.00 | 0.00 | 0.00 |" in tables
