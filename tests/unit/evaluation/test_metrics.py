"""Values that can be worked out by hand on anisotropic spacing, and an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn
from scipy import ndimage
from scipy.spatial.distance import cdist

from nnunetv2_masam.evaluation.metrics import METRICS, image_diagonal_mm, structure_metrics

SPACING_MM = (5.0, 2.0, 0.5)


def block(shape: tuple[int, ...], *bounds: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*bound) for bound in bounds)] = True
    return mask


@pytest.mark.parametrize(("axis", "voxels"), [(0, 1), (1, 2), (2, 3)])
def test_single_voxels_are_as_far_apart_as_the_spacing_says(axis: int, voxels: int) -> None:
    reference = block((12, 12, 12), (5, 6), (5, 6), (5, 6))
    found = structure_metrics(reference, np.roll(reference, voxels, axis), SPACING_MM, tolerance_mm=0.1)
    # half of the eight elements (voxel corners) look at the other voxel, half look away from it
    far, near = voxels * SPACING_MM[axis], (voxels - 1) * SPACING_MM[axis]
    assert found["HD95_mm"] == pytest.approx(far)
    assert found["ASSD_mm"] == pytest.approx((far + near) / 2)
    assert found["NSD"] == pytest.approx(0.5 if near == 0 else 0.0)
    assert found["Dice"] == 0


@pytest.mark.parametrize(("tolerance_mm", "nsd"), [(0.4, 0.5), (0.5, 1.0)])
def test_slabs_that_end_one_slice_apart(tolerance_mm: float, nsd: float) -> None:
    """Two slabs, 200 x 200 mm: one of the two planes agrees, the other is one slice (0.5 mm) off."""
    spacing_mm = (0.5, 5.0, 5.0)
    reference, prediction = block((20, 40, 40), (5, 10)), block((20, 40, 40), (5, 11))
    found = structure_metrics(reference, prediction, spacing_mm, tolerance_mm)
    # planes of 40000 mm2 each; the slabs' sides add 2000 mm2 that are partly within the tolerance
    assert found["NSD"] == pytest.approx(nsd, abs=2000 / 82000)
    assert found["ASSD_mm"] == pytest.approx(0.25, abs=0.5 * 2000 / 82000)
    assert found["HD95_mm"] == pytest.approx(0.5)
    assert found["volume_reference_ml"] == pytest.approx(0.5 * 5 * 200 * 200 / 1000)
    assert found["volume_difference_ml"] == pytest.approx(0.5 * 200 * 200 / 1000)


def test_equal_masks_are_perfect() -> None:
    mask = block((8, 9, 10), (2, 5), (3, 7), (1, 9))
    found = structure_metrics(mask, mask, SPACING_MM)
    assert [found[metric] for metric in METRICS] == [1.0, 1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("seed", range(4))
def test_against_brute_force(seed: int) -> None:
    """All pairs of surface elements with `cdist`; elements and areas derived here from scratch."""
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=(2, 14, 16, 18)), (0, 2, 2, 2))
    reference, prediction = smooth[0] > 0.02, (smooth[0] + 0.7 * smooth[1]) > 0.02
    found = structure_metrics(reference, prediction, SPACING_MM, tolerance_mm=2.0)
    ours, ours_area = corner_elements(reference)
    theirs, theirs_area = corner_elements(prediction)
    distances = cdist(ours * SPACING_MM, theirs * SPACING_MM)
    to_prediction, to_reference = distances.min(axis=1), distances.min(axis=0)
    hd95 = max(
        weighted_percentile(to_prediction, ours_area, 0.95),
        weighted_percentile(to_reference, theirs_area, 0.95),
    )
    total = ours_area.sum() + theirs_area.sum()
    within = ours_area[to_prediction <= 2.0].sum() + theirs_area[to_reference <= 2.0].sum()
    assd = (to_prediction @ ours_area + to_reference @ theirs_area) / total
    assert found["HD95_mm"] == pytest.approx(hd95)
    # some neighbourhoods can be triangulated in two ways, which differ in area
    assert found["ASSD_mm"] == pytest.approx(assd, rel=0.005)
    assert found["NSD"] == pytest.approx(within / total, abs=0.003)
    tp, fp, fn, _ = compute_tp_fp_fn_tn(reference, prediction)
    assert found["Dice"] == 2 * tp / (2 * tp + fp + fn)


def corner_elements(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxel corners that see both inside and outside, and the area of the surface around each.

    The area comes from triangulating the 2x2x2 neighbourhood with marching cubes (scikit-image), which is how
    Nikolov et al. define it.
    """
    from skimage.measure import marching_cubes, mesh_surface_area

    padded = np.pad(mask, 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 2, 2))
    counts = windows.sum(axis=(3, 4, 5))
    corners = np.argwhere((counts > 0) & (counts < 8))
    areas = []
    for corner in corners:
        cube = windows[tuple(corner)].astype(float)
        vertices, faces, *_ = marching_cubes(cube, 0.5, spacing=SPACING_MM, method="lorensen")
        areas.append(mesh_surface_area(vertices, faces))
    return corners, np.array(areas)


def weighted_percentile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(np.searchsorted(cumulative, share), len(values) - 1)])


def test_empty_prediction_is_the_worst_value_and_named() -> None:
    mask = block((4, 5, 6), (1, 2), (1, 3), (1, 3))
    found = structure_metrics(mask, np.zeros_like(mask), SPACING_MM)
    diagonal = math.sqrt((3 * 5.0) ** 2 + (4 * 2.0) ** 2 + (5 * 0.5) ** 2)
    assert [found[metric] for metric in METRICS] == [0.0, 0.0, diagonal, diagonal, 0.0]
    assert found["empty"] == "prediction"
    assert found["volume_prediction_ml"] == 0.0


def test_empty_reference_is_the_worst_value_and_named() -> None:
    mask = block((4, 5, 6), (1, 2), (1, 3), (1, 3))
    found = structure_metrics(np.zeros_like(mask), mask, SPACING_MM, diagonal_mm=99.0)
    assert [found[metric] for metric in METRICS] == [0.0, 0.0, 99.0, 99.0, 0.0]
    assert found["empty"] == "reference"


def test_both_empty_has_no_value_and_is_named() -> None:
    nothing = np.zeros((4, 5, 6), bool)
    found = structure_metrics(nothing, nothing, SPACING_MM)
    assert all(math.isnan(float(found[metric])) for metric in METRICS)
    assert found["empty"] == "both"


def test_voxels_under_the_ignore_label_do_not_count() -> None:
    reference = block((6, 8, 8), (1, 4), (1, 5), (1, 5))
    prediction = reference | block((6, 8, 8), (1, 4), (6, 8), (6, 8))
    ignore = block((6, 8, 8), (0, 6), (6, 8), (0, 8))
    assert structure_metrics(reference, prediction, SPACING_MM)["Dice"] < 1
    found = structure_metrics(reference, prediction, SPACING_MM, ignore=ignore)
    assert (found["Dice"], found["HD95_mm"]) == (1.0, 0.0)
    assert found["volume_difference_ml"] == 0


def test_two_dimensions_measure_contours() -> None:
    reference = block((1, 12, 12), (0, 1), (3, 6), (3, 6))
    found = structure_metrics(reference, np.roll(reference, 6, axis=2), (2.0, 0.5))
    assert found["HD95_mm"] == pytest.approx(6 * 0.5)
    assert image_diagonal_mm((1, 12, 12), (2.0, 0.5)) == pytest.approx(math.hypot(11 * 2.0, 11 * 0.5))


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        structure_metrics(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool), SPACING_MM)
