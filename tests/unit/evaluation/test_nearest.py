"""Distances between voxels, compared with all pairs and with SciPy's distance transform."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from nnunetv2_masam.evaluation import nearest
from nnunetv2_masam.evaluation.nearest import nearest_mm, within

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.3, 2.0, 0.9), (1.5, 0.8)]


def some_voxels(spacing_mm: tuple[float, ...], share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((9, 17, 23)[-len(spacing_mm) :]) < share


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("share", [0.3, 0.004])
@pytest.mark.parametrize("limit_mm", [np.inf, 2.0, 6.0])
def test_distances_equal_all_pairs(spacing_mm: tuple[float, ...], share: float, limit_mm: float) -> None:
    first, second = some_voxels(spacing_mm, share), some_voxels(spacing_mm, share, 1)
    pairs = cdist(np.argwhere(first) * spacing_mm, np.argwhere(second) * spacing_mm)
    assert pairs.size
    expected = pairs.min(axis=1), pairs.min(axis=0)
    for found, all_pairs in zip(nearest_mm(first, second, spacing_mm, limit_mm), expected, strict=True):
        near = all_pairs <= limit_mm
        np.testing.assert_allclose(found[near], all_pairs[near], rtol=1e-14)
        assert np.isinf(found[~near]).all()


def test_offsets_and_tree_are_both_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same distances whichever of the two finds them; offsets of one length can differ in its last digit."""
    first, second = some_voxels(SPACINGS[1], 0.05), some_voxels(SPACINGS[1], 0.02, 1)
    usual = nearest_mm(first, second, SPACINGS[1])
    for offsets in (1, 100_000):
        monkeypatch.setattr(nearest, "MAX_OFFSETS", offsets)
        for found, expected in zip(nearest_mm(first, second, SPACINGS[1]), usual, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("width_mm", [0.0, 0.7, 2.0, 2.1, 8.0])
def test_zones_equal_a_distance_transform(spacing_mm: tuple[float, ...], width_mm: float) -> None:
    """The widest one is computed by it; the others are not."""
    voxels = some_voxels(spacing_mm, 0.01)
    expected = ndimage.distance_transform_edt(~voxels, sampling=spacing_mm) <= width_mm
    np.testing.assert_array_equal(within(voxels, spacing_mm, width_mm), expected)
    assert not within(np.zeros_like(voxels), spacing_mm, width_mm).any()


@pytest.mark.parametrize("steps", range(1, 8))
@pytest.mark.parametrize("size_mm", [0.1, 0.3, 0.7, 1.1, 0.9765625])
def test_a_distance_that_equals_the_limit_is_within_it(size_mm: float, steps: int) -> None:
    """The limit is the product that the distance is, whatever the quotient is rounded to."""
    first = np.zeros((2, 2, 9), bool)
    second = first.copy()
    first[0, 0, 0] = second[0, 0, steps] = True
    limit_mm = steps * size_mm
    spacing_mm = (1.0, 1.0, size_mm)
    for found in nearest_mm(first, second, spacing_mm, limit_mm):
        np.testing.assert_array_equal(found, [limit_mm])
    assert within(first, spacing_mm, limit_mm)[0, 0, steps]
    assert not within(first, spacing_mm, np.nextafter(limit_mm, 0))[0, 0, steps]
