"""Dice and HD95 by lesion, worked out by hand, and the presets of the challenges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnunetv2_masam.evaluation.lesions import LESION_RULES, LesionRule, lesion_wise, lesions_of

SPACING_MM = (1.0, 1.0, 1.0)


def volume(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros((12, 12, 40), bool)
    for box in boxes:
        mask[box] = True
    return mask


def box(start: int, size: int, width: int = 4) -> tuple[slice, slice, slice]:
    """A box of `width` x `width` x `size` voxels that starts at `start`."""
    return slice(4, 4 + width), slice(4, 4 + width), slice(start, start + size)


def measured(reference: np.ndarray, prediction: np.ndarray, rule: str) -> tuple[float, float]:
    """Mean Dice and HD95."""
    return lesion_wise(reference, prediction, SPACING_MM, LESION_RULES[rule], diagonal_mm=99.0)


def lesions(reference: np.ndarray, prediction: np.ndarray, rule: LesionRule | str) -> tuple[list, int]:
    chosen = LESION_RULES[rule] if isinstance(rule, str) else rule
    return lesions_of(reference, prediction, SPACING_MM, chosen)


@pytest.mark.parametrize("rule", LESION_RULES)
def test_equal_masks_are_perfect(rule: str) -> None:
    mask = volume(box(2, 6), box(25, 5))
    assert measured(mask, mask, rule) == (1.0, 0.0)
    assert lesions(mask, mask, rule) == ([(96, (1.0, 0.0)), (80, (1.0, 0.0))], 0)


def test_a_missed_lesion_and_a_false_positive_cost_the_penalty() -> None:
    """One lesion of 96 voxels is perfect, one of 80 is missed, and one is invented."""
    reference, prediction = volume(box(2, 6), box(17, 5)), volume(box(2, 6), box(30, 5))
    for rule, penalty_mm in (("every", 99.0), ("brats-gli", 374.0), ("brats-met", 374.0)):
        assert lesions(reference, prediction, rule) == ([(96, (1.0, 0.0)), (80, None)], 1)
        assert measured(reference, prediction, rule) == pytest.approx((1 / 3, 2 * penalty_mm / 3))


def test_small_reference_lesions_do_not_count_and_what_finds_them_is_no_false_positive() -> None:
    """48 voxels are at most 50 mm3; metastases count from 3."""
    reference, prediction = volume(box(2, 6), box(20, 3)), volume(box(2, 6), box(20, 2))
    assert lesions(reference, prediction, "brats-gli")[1] == 0
    assert measured(reference, prediction, "brats-gli") == (1.0, 0.0)
    assert measured(reference, prediction, "brats-met")[0] == pytest.approx((1 + 2 * 32 / (48 + 32)) / 2)
    assert measured(reference, np.zeros_like(reference), "brats-gli") == (0.0, 374.0)


@pytest.mark.parametrize(("size", "counts"), [(50, False), (51, True)])
def test_the_smallest_lesion_that_counts(size: int, counts: bool) -> None:
    reference = np.zeros((5, 5, 60), bool)
    reference[2, 2, 2 : 2 + size] = True
    assert math.isnan(measured(reference, reference, "brats-men")[0]) != counts


@pytest.mark.parametrize(("gap", "gli", "men"), [(1, 1, 1), (2, 1, 1), (4, 1, 2), (6, 1, 2), (7, 2, 2)])
def test_close_reference_lesions_are_one(gap: int, gli: int, men: int) -> None:
    """Both grow by three voxels for glioma and by one for meningioma, and touch where no voxel is between them."""
    mask = volume(box(2, 8), box(10 + gap, 8))
    for rule, count in (("brats-gli", gli), ("brats-men", men), ("every", 2)):
        assert len(lesions(mask, mask, rule)[0]) == count


def test_a_prediction_near_a_lesion_finds_it() -> None:
    """Two voxels beside it: inside of glioma's dilation, and a false positive by overlap alone."""
    reference, prediction = volume(box(2, 8)), volume(box(12, 8))
    assert lesions(reference, prediction, "brats-gli")[1] == 0
    dice, hd95_mm = measured(reference, prediction, "brats-gli")
    assert dice == 0
    assert 0 < hd95_mm < 20
    assert lesions(reference, prediction, "every") == ([(128, None)], 1)
    assert measured(reference, prediction, "every") == (0.0, 99.0)


def test_all_that_touches_a_lesion_is_compared_with_it() -> None:
    """Two parts of 32 voxels each, of a lesion of 96."""
    parts = volume(box(2, 2), box(6, 2))
    assert measured(volume(box(2, 6)), parts, "every")[0] == pytest.approx(2 * 64 / (96 + 64))
    assert lesions(volume(box(2, 6)), parts, "every")[1] == 0


def test_dilation_goes_through_edges_and_not_through_corners() -> None:
    """A single voxel at (1, 1, 1) from the lesion is outside of its neighbourhood of 18."""
    reference, prediction = np.zeros((2, 9, 9, 9), bool)
    reference[2:5, 2:5, 2:5] = True
    prediction[5, 5, 5] = True
    rule = LesionRule(1, 2, 374)
    assert lesions(reference, prediction, rule) == ([(27, None)], 1)
    prediction[5, 5, 4] = True
    assert lesions(reference, prediction, rule)[1] == 0


def test_the_edge_of_the_image_does_not_stop_a_dilation() -> None:
    reference = np.zeros((3, 3, 12), bool)
    reference[:, :, :5] = reference[:, :, 7:] = True
    assert len(lesions(reference, reference, "brats-men")[0]) == 1


def test_empty_masks() -> None:
    mask, nothing = volume(box(2, 6)), volume()
    assert np.isnan(measured(nothing, nothing, "brats-gli")).all()
    assert measured(nothing, mask, "brats-gli") == measured(mask, nothing, "brats-gli") == (0.0, 374.0)


def test_two_dimensions() -> None:
    mask = np.zeros((9, 20), bool)
    mask[2:6, 2:6] = mask[2:6, 10:14] = True
    assert lesions_of(mask, mask, (1.0, 2.0), LESION_RULES["every"]) == ([(32, (1.0, 0.0))] * 2, 0)


def test_rules_are_checked() -> None:
    with pytest.raises(ValueError, match="dilations is -1"):
        LesionRule(dilations=-1)
