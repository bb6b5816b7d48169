"""Which lesions are found, by hand and against all matchings; Dice and HD95 by lesion, and the challenges' presets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage

from nnunetv2_masam.evaluation.lesions import (
    LESION_RULES,
    LesionRule,
    count_lesions,
    lesion_wise,
    lesions_of,
    panoptic_quality,
)

SPACING_MM = (1.0, 1.0, 1.0)


def row(text: str) -> np.ndarray:
    """A 2D mask from a drawing of one row."""
    return np.array([[letter != "." for letter in text]])


@pytest.mark.parametrize(
    ("reference", "prediction", "iou", "expected"),
    [
        ("##..##..##", "##......##", 0.1, (3, 2, 2)),
        ("##........", "......####", 0.1, (1, 1, 0)),
        ("########..", "#.#.#.....", 0.1, (1, 3, 1)),  # one lesion is found once, however often it is hit
        ("##.##.##..", "########..", 0.1, (3, 1, 1)),  # and one prediction finds one lesion
        ("####......", "...####...", 0.1, (1, 1, 1)),  # IoU 1/7
        ("####......", "...####...", 0.2, (1, 1, 0)),
        ("..........", "##..##....", 0.1, (0, 2, 0)),
        ("..........", "..........", 0.1, (0, 0, 0)),
    ],
)
def test_counts(reference: str, prediction: str, iou: float, expected: tuple[int, int, int]) -> None:
    assert count_lesions(row(reference), row(prediction), iou) == expected


def test_as_many_as_possible_are_matched() -> None:
    """The best pair first would leave the other two lesions without a partner."""
    reference, prediction = row("######.####"), row(".#########.")
    assert count_lesions(reference, prediction, 0.3)[2] == 1
    reference = np.zeros((2, 12), bool)
    prediction = np.zeros((2, 12), bool)
    reference[0, 0:4] = reference[0, 5:12] = True  # A, B
    prediction[0, 2:8] = prediction[0, 9:12] = True  # between A and B; inside of B
    assert count_lesions(reference, prediction, 0.2) == (2, 2, 2)


def test_corners_connect() -> None:
    diagonal = np.eye(3, dtype=bool)
    assert count_lesions(diagonal, diagonal)[0] == 1
    volume = np.zeros((2, 2, 2), bool)
    volume[0, 0, 0] = volume[1, 1, 1] = True
    assert count_lesions(volume, volume) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_against_every_matching(seed: int) -> None:
    random = np.random.default_rng(seed)
    reference, prediction = random.random((2, 12, 14)) < 0.25
    truth, n = ndimage.label(reference, np.ones((3, 3)))
    found, m = ndimage.label(prediction, np.ones((3, 3)))
    fits = {
        (i, j)
        for i in range(1, n + 1)
        for j in range(1, m + 1)
        if np.sum((truth == i) & (found == j)) >= 0.15 * np.sum((truth == i) | (found == j))
    }
    most = max(
        size
        for size in range(len(fits) + 1)
        if any(
            len({i for i, _ in chosen}) == size == len({j for _, j in chosen})
            for chosen in itertools.combinations(sorted(fits), size)
        )
    )
    assert count_lesions(reference, prediction, 0.15) == (n, m, most)


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        ("####..####", "####......", (2 / 3, 1.0, 2 / 3)),
        ("####..####", "###...####", ((3 / 4 + 1) / 2, (3 / 4 + 1) / 2, 1.0)),
        ("####......", "##........", (1 / 2, 1 / 2, 1.0)),
        ("####......", "#.........", (0.0, 0.0, 0.0)),
        ("####......", "..........", (0.0, 0.0, 0.0)),
    ],
)
def test_panoptic_quality_by_hand(reference: str, prediction: str, expected: tuple[float, float, float]) -> None:
    assert panoptic_quality(row(reference), row(prediction)) == pytest.approx(expected)
    assert panoptic_quality(row(prediction), row(reference)) == pytest.approx(expected)


def test_panoptic_quality_without_lesions() -> None:
    assert np.isnan(panoptic_quality(row("...."), row("...."))).all()


# one by one


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
