"""Which lesions are found, by hand and against all possible matchings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from nnunetv2_masam.evaluation.lesions import count_lesions, panoptic_quality


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
