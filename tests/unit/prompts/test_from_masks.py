"""Boxes around reference masks: components, margins in millimetres, random errors."""

from __future__ import annotations

import numpy as np
import pytest

from nnunetv2_masam.prompts.from_masks import label_values, make_boxes
from nnunetv2_masam.prompts.requests import MaskBoxes

SPACING_MM = (3.0, 1.0, 0.5)  # (D, H, W)


@pytest.fixture
def mask() -> np.ndarray:
    """Two lesions; the first is held together by a corner only."""
    mask = np.zeros((12, 20, 30), bool)
    mask[2:4, 5:8, 6:10] = True
    mask[4, 8, 10] = True
    mask[9, 15:17, 20:23] = True
    return mask


def test_one_box_for_each_lesion_or_one_for_all(mask):
    assert make_boxes(MaskBoxes(("tumour",)), "case", mask, SPACING_MM) == [
        [[2, 5], [5, 9], [6, 11]],
        [[9, 10], [15, 17], [20, 23]],
    ]
    one = make_boxes(MaskBoxes(("tumour",), per_lesion=False), "case", mask, SPACING_MM)
    assert one == [[[2, 10], [5, 17], [6, 23]]]
    assert make_boxes(MaskBoxes(("tumour",)), "case", np.zeros_like(mask), SPACING_MM) == []


def test_margins_are_millimetres_and_end_with_the_image(mask):
    _, second = make_boxes(MaskBoxes(("tumour",), margin_mm=2.0), "case", mask, SPACING_MM)
    assert second == [[8, 11], [13, 19], [16, 27]]  # 2 mm: 1, 2 and 4 voxels
    _, second = make_boxes(MaskBoxes(("tumour",), margin_mm=6.0), "case", mask, SPACING_MM)
    assert second == [[7, 12], [9, 20], [8, 30]]


def test_jitter_is_bounded_seeded_and_its_own_for_each_case(mask):
    rule = MaskBoxes(("tumour",), jitter_mm=3.0, seed=1)
    tight, jittered = make_boxes(MaskBoxes(("tumour",)), "a", mask, SPACING_MM), make_boxes(rule, "a", mask, SPACING_MM)
    assert jittered == make_boxes(rule, "a", mask, SPACING_MM)
    assert jittered != make_boxes(rule, "b", mask, SPACING_MM)
    assert jittered != make_boxes(MaskBoxes(("tumour",), jitter_mm=3.0, seed=2), "a", mask, SPACING_MM)
    moves = np.abs(np.array(jittered) - np.array(tight)) * np.array(SPACING_MM)[:, None]
    assert 0 < moves.max() <= 3.0


def test_jitter_leaves_a_voxel_inside_the_image():
    mask = np.zeros((3, 4, 5), bool)
    mask[0, 3, 4] = True
    for seed in range(50):
        (box,) = make_boxes(MaskBoxes(("tumour",), jitter_mm=9.0, seed=seed), "case", mask, (1.0, 1.0, 1.0))
        for (low, high), size in zip(box, mask.shape, strict=True):
            assert 0 <= low < high <= size


def test_negative_sizes_are_refused():
    with pytest.raises(ValueError, match="margin_mm: got -1"):
        MaskBoxes(("tumour",), margin_mm=-1)
    with pytest.raises(ValueError, match="jitter_mm: got nan"):
        MaskBoxes(("tumour",), jitter_mm=float("nan"))


def test_labels_and_regions_by_name():
    dataset_json = {"labels": {"background": 0, "whole": [1, 2], "core": 2, "cyst": 4}}
    assert label_values(dataset_json, ["whole", "cyst"]) == [1, 2, 4]
    with pytest.raises(ValueError, match="got tumour, the labels are whole, core, cyst"):
        label_values(dataset_json, ["core", "tumour"])
