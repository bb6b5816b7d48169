"""Dice and HD95 by lesion, worked out by hand, and the presets of the challenges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnunetv2_masam.evaluation.lesion_wise import LESION_RULES, LesionRule, LesionWise, lesion_wise

SPACING_MM = (1.0, 1.0, 1.0)


def volume(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros((12, 12, 40), bool)
    for box in boxes:
        mask[box] = True
    return mask


def box(start: int, size: int, width: int = 4) -> tuple[slice, slice, slice]:
    """A box of `width` x `width` x `size` voxels that starts at `start`."""
    return slice(4, 4 + width), slice(4, 4 + width), slice(start, start + size)


def measured(reference: np.ndarray, prediction: np.ndarray, rule: LesionRule | str) -> LesionWise:
    chosen = LESION_RULES[rule] if isinstance(rule, str) else rule
    return lesion_wise(reference, prediction, SPACING_MM, chosen, diagonal_mm=99.0)


@pytest.mark.parametrize("rule", LESION_RULES)
def test_equal_masks_are_perfect(rule: str) -> None:
    mask = volume(box(2, 6), box(25, 5))
    found = measured(mask, mask, rule)
    assert (found.dice, found.hd95_mm, found.false_positives, len(found.lesions)) == (1.0, 0.0, 0, 2)


def test_a_missed_lesion_and_a_false_positive_cost_the_penalty() -> None:
    """One lesion of 96 voxels is perfect, one of 80 is missed, and one is invented."""
    reference, prediction = volume(box(2, 6), box(17, 5)), volume(box(2, 6), box(30, 5))
    for rule, penalty_mm in (("every", 99.0), ("brats-gli", 374.0), ("brats-met", 374.0)):
        found = measured(reference, prediction, rule)
        assert [(lesion.volume_mm3, lesion.dice, lesion.hd95_mm, lesion.found) for lesion in found.lesions] == [
            (96, 1.0, 0.0, True),
            (80, 0.0, penalty_mm, False),
        ]
        assert found.false_positives == 1
        assert found.dice == pytest.approx(1 / 3)
        assert found.hd95_mm == pytest.approx(2 * penalty_mm / 3)


def test_small_reference_lesions_do_not_count_and_what_finds_them_is_no_false_positive() -> None:
    """48 voxels are at most 50 mm3; metastases count from 3."""
    reference, prediction = volume(box(2, 6), box(20, 3)), volume(box(2, 6), box(20, 2))
    glioma, metastases = measured(reference, prediction, "brats-gli"), measured(reference, prediction, "brats-met")
    assert [lesion.counts for lesion in glioma.lesions] == [True, False]
    assert (glioma.dice, glioma.hd95_mm, glioma.false_positives) == (1.0, 0.0, 0)
    assert metastases.dice == pytest.approx((1 + 2 * 32 / (48 + 32)) / 2)
    assert measured(reference, np.zeros_like(reference), "brats-gli").dice == 0.0


@pytest.mark.parametrize(("size", "counts"), [(50, False), (51, True)])
def test_the_smallest_lesion_that_counts(size: int, counts: bool) -> None:
    reference = np.zeros((5, 5, 60), bool)
    reference[2, 2, 2 : 2 + size] = True
    assert measured(reference, reference, "brats-men").lesions[0].counts == counts


@pytest.mark.parametrize(("gap", "gli", "men"), [(1, 1, 1), (2, 1, 1), (4, 1, 2), (6, 1, 2), (7, 2, 2)])
def test_close_reference_lesions_are_one(gap: int, gli: int, men: int) -> None:
    """Both grow by three voxels for glioma and by one for meningioma, and touch where no voxel is between them."""
    mask = volume(box(2, 8), box(10 + gap, 8))
    assert len(measured(mask, mask, "brats-gli").lesions) == gli
    assert len(measured(mask, mask, "brats-men").lesions) == men
    assert len(measured(mask, mask, "every").lesions) == 2


def test_a_prediction_near_a_lesion_finds_it() -> None:
    """Two voxels beside it: inside of glioma's dilation, and a false positive by overlap alone."""
    reference, prediction = volume(box(2, 8)), volume(box(12, 8))
    near = measured(reference, prediction, "brats-gli")
    assert (near.lesions[0].found, near.dice, near.false_positives) == (True, 0.0, 0)
    assert 0 < near.hd95_mm < 20
    apart = measured(reference, prediction, "every")
    assert (apart.lesions[0].found, apart.false_positives, apart.hd95_mm) == (False, 1, 99.0)


def test_all_that_touches_a_lesion_is_compared_with_it() -> None:
    """Two parts of 32 voxels each, of a lesion of 96."""
    found = measured(volume(box(2, 6)), volume(box(2, 2), box(6, 2)), "every")
    assert found.dice == pytest.approx(2 * 64 / (96 + 64))
    assert found.false_positives == 0


def test_dilation_goes_through_edges_and_not_through_corners() -> None:
    """A single voxel at (1, 1, 1) from the lesion is outside of its neighbourhood of 18."""
    reference, prediction = np.zeros((2, 9, 9, 9), bool)
    reference[2:5, 2:5, 2:5] = True
    prediction[5, 5, 5] = True
    rule = LesionRule(1, 2, 374)
    assert not measured(reference, prediction, rule).lesions[0].found
    prediction[5, 5, 4] = True
    assert measured(reference, prediction, rule).lesions[0].found


def test_the_edge_of_the_image_does_not_stop_a_dilation() -> None:
    reference = np.zeros((3, 3, 12), bool)
    reference[:, :, :5] = reference[:, :, 7:] = True
    assert len(measured(reference, reference, "brats-men").lesions) == 1


def test_empty_masks() -> None:
    mask, nothing = volume(box(2, 6)), volume()
    both = measured(nothing, nothing, "brats-gli")
    assert math.isnan(both.dice)
    assert math.isnan(both.hd95_mm)
    assert (measured(nothing, mask, "brats-gli").dice, measured(nothing, mask, "brats-gli").hd95_mm) == (0.0, 374.0)
    assert (measured(mask, nothing, "brats-gli").dice, measured(mask, nothing, "brats-gli").hd95_mm) == (0.0, 374.0)


def test_two_dimensions() -> None:
    mask = np.zeros((9, 20), bool)
    mask[2:6, 2:6] = mask[2:6, 10:14] = True
    found = lesion_wise(mask, mask, (1.0, 2.0), LESION_RULES["every"], 99.0)
    assert ([lesion.volume_mm3 for lesion in found.lesions], found.dice) == ([32.0, 32.0], 1.0)


def test_rules_are_checked() -> None:
    with pytest.raises(ValueError, match="dilations is -1"):
        LesionRule(dilations=-1)
