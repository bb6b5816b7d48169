"""Centrelines of rods and tubes, and clDice by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from nnunetv2_masam.evaluation.centerlines import centerline, cldice

RODS = [(1, 1, 30), (2, 2, 30), (3, 3, 30), (4, 4, 30), (5, 5, 30), (6, 6, 30), (2, 5, 30), (3, 4, 30), (8, 8, 8)]


def tube(first: float, last: float, center: float = 11.5) -> np.ndarray:
    """A tube of 40 voxels whose radius changes from one end to the other."""
    grid = np.indices((24, 24, 40)).astype(float)
    radius = first + (last - first) * grid[2] / 39
    return (grid[0] - center) ** 2 + (grid[1] - center) ** 2 <= radius**2


def length(mask: np.ndarray) -> float:
    """Extent along the last axis, in voxels."""
    return float(np.ptp(np.argwhere(mask)[:, -1])) / 2 + 1


@pytest.mark.parametrize("shape", [*RODS, (2, 2, 2), (1, 1, 1), (2, 1, 1), (2, 30), (4, 30), (5, 30), (8, 8)])
def test_a_rod_has_one_line_along_its_length(shape: tuple[int, ...]) -> None:
    """It ends where the rod's width does not allow it to go on, so at most half a width before the rod."""
    line = centerline(np.pad(np.ones(shape, bool), 2))
    assert ndimage.label(line, np.ones((3,) * len(shape)))[1] == 1
    assert length(line) >= max(1, shape[-1] - max(shape[:-1]))
    assert line.sum() <= 2 * max(shape)


@pytest.mark.parametrize(("first", "last"), [(1, 1), (4, 4), (4.5, 4.5), (0.8, 6), (6, 0.8)])
@pytest.mark.parametrize("center", [11.0, 11.5])
def test_no_part_of_a_tube_is_lost(first: float, last: float, center: float) -> None:
    line = centerline(tube(first, last, center))
    assert ndimage.label(line, np.ones((3, 3, 3)))[1] == 1
    assert length(line) >= 40 - first - last


def test_the_wide_part_of_a_tube_is_not_lost() -> None:
    mask = np.zeros((10, 10, 60), bool)
    mask[3:7, 3:7, 3:30] = True
    mask[4, 4, 30:57] = True
    assert length(centerline(mask)) >= 52


def test_a_diagonal_line_stays_connected() -> None:
    assert ndimage.label(centerline(np.eye(12, dtype=bool)), np.ones((3, 3)))[1] == 1
    volume = np.zeros((9, 9, 9), bool)
    volume[range(9), range(9), range(9)] = True
    line = centerline(volume)
    assert (ndimage.label(line, np.ones((3, 3, 3)))[1], line.sum()) == (1, 17)


@pytest.mark.parametrize("shape", RODS)
def test_rods_of_every_width_can_be_perfect_and_missed(shape: tuple[int, ...]) -> None:
    rod = np.zeros((20, 20, 40), bool)
    rod[tuple(slice(1, 1 + n) for n in shape)] = True
    assert cldice(rod, rod) == 1.0
    assert cldice(rod, np.roll(rod, 9, axis=0)) == 0.0


def test_half_of_a_vessel() -> None:
    """The prediction's line lies in the reference; 15 of the reference's 30 voxels are found."""
    reference = np.zeros((6, 6, 34), bool)
    reference[2, 2, 2:32] = True
    prediction = reference.copy()
    prediction[:, :, 17:] = False
    sensitivity = 29 / 59  # points on the grid of twice the resolution
    assert cldice(reference, prediction) == pytest.approx(2 * sensitivity / (1 + sensitivity))


def test_width_does_not_matter() -> None:
    thin, wide = tube(1.5, 1.5), tube(5, 5)
    assert cldice(thin, wide) == 1.0
    assert 2 * np.sum(thin & wide) / (thin.sum() + wide.sum()) < 0.3


def test_empty_masks() -> None:
    mask, nothing = tube(2, 2), np.zeros((24, 24, 40), bool)
    assert math.isnan(cldice(nothing, nothing))
    assert (cldice(mask, nothing), cldice(nothing, mask)) == (0.0, 0.0)
