"""Values that can be worked out by hand on anisotropic spacing, and independent implementations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn
from scipy import ndimage
from scipy.spatial.distance import cdist

from nnunetv2_masam.evaluation.label_arrays import measure_labels
from nnunetv2_masam.evaluation.lesions import LESION_RULES
from nnunetv2_masam.evaluation.metrics import LESION_RULES as RULES
from nnunetv2_masam.evaluation.metrics import METRICS, OPTIONS, STANDARD, MetricSettings, structure_metrics
from nnunetv2_masam.evaluation.units import MILLIMETRES
from tests.unit.evaluation.label_arrays import labels

SPACING_MM = (5.0, 2.0, 0.5)
MESH = MetricSettings(distance_surface="mesh")
VOXELS = MetricSettings(nsd_surface="voxels")


def block(shape: tuple[int, ...], *bounds: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*bound) for bound in bounds)] = True
    return mask


@pytest.mark.parametrize(("axis", "voxels"), [(0, 1), (1, 2), (2, 3)])
def test_single_voxels_are_as_far_apart_as_the_spacing_says(axis: int, voxels: int) -> None:
    reference = block((12, 12, 12), (5, 6), (5, 6), (5, 6))
    prediction = np.roll(reference, voxels, axis)
    far, near = voxels * SPACING_MM[axis], (voxels - 1) * SPACING_MM[axis]
    found = structure_metrics(reference, prediction, SPACING_MM, 0.1, settings=VOXELS)
    assert [found[metric] for metric in STANDARD] == pytest.approx([0, 0, far, far, 0])
    # half of the eight elements (voxel corners) look at the other voxel, half look away from it
    found = structure_metrics(reference, prediction, SPACING_MM, 0.1, settings=MESH)
    assert [found[metric] for metric in STANDARD] == pytest.approx([0, 0, far, (far + near) / 2, 0.5 * (near == 0)])


def test_nsd_is_between_surfaces_and_not_between_voxel_centres() -> None:
    """Two voxels, centres 3 mm apart: the sides that face each other are 2 mm apart, the far ones 3 mm."""
    reference = block((4, 4, 8), (1, 2), (1, 2), (1, 2))
    prediction = np.roll(reference, 3, axis=2)
    for tolerance_mm, mesh, voxels in ((1.9, 0.0, 0.0), (2.0, 0.5, 0.0), (3.0, 1.0, 1.0)):
        found = structure_metrics(reference, prediction, (1, 1, 1), tolerance_mm)
        assert found["NSD"] == mesh
        assert structure_metrics(reference, prediction, (1, 1, 1), tolerance_mm, settings=VOXELS)["NSD"] == voxels


@pytest.mark.parametrize(("tolerance_mm", "nsd"), [(0.4, 0.5), (0.5, 1.0)])
def test_slabs_that_end_one_slice_apart(tolerance_mm: float, nsd: float) -> None:
    """Two slabs, 200 x 200 mm: one of the two planes agrees, the other is one slice (0.5 mm) off."""
    spacing_mm = (0.5, 5.0, 5.0)
    reference, prediction = block((20, 40, 40), (5, 10)), block((20, 40, 40), (5, 11))
    found = structure_metrics(reference, prediction, spacing_mm, tolerance_mm, settings=MESH)
    # planes of 40000 mm2 each; the slabs' sides add 2000 mm2 that are partly within the tolerance
    assert found["NSD"] == pytest.approx(nsd, abs=2000 / 82000)
    assert found["ASSD_mm"] == pytest.approx(0.25, abs=0.5 * 2000 / 82000)
    assert found["HD95_mm"] == pytest.approx(0.5)
    assert found["volume_reference_ml"] == pytest.approx(0.5 * 5 * 200 * 200 / 1000)
    assert found["volume_difference_ml"] == pytest.approx(0.5 * 200 * 200 / 1000)


def test_equal_masks_are_perfect() -> None:
    mask = block((8, 9, 10), (2, 5), (3, 7), (1, 9))
    found = structure_metrics(mask, mask, SPACING_MM)
    assert [found[metric] for metric in STANDARD] == [1.0, 1.0, 0.0, 0.0, 1.0]


def random_pair(seed: int, shape: tuple[int, ...] = (14, 16, 18)) -> tuple[np.ndarray, np.ndarray]:
    """Two blobs that overlap and touch the image's border."""
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=(2, *shape)), (0, *[2] * len(shape)))
    return smooth[0] > 0.02, (smooth[0] + 0.7 * smooth[1]) > 0.02


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_border_voxels_against_monai_and_simpleitk(seed: int, dimensions: int) -> None:
    monai_metrics = pytest.importorskip("monai.metrics")
    spacing_mm = SPACING_MM[-dimensions:]
    reference, prediction = random_pair(seed, (1, 24, 26) if dimensions == 2 else (14, 16, 18))
    found = structure_metrics(reference, prediction, spacing_mm, 2.0, settings=VOXELS)
    if dimensions == 2:
        reference, prediction = reference[0], prediction[0]
    pair = torch.tensor(prediction)[None, None], torch.tensor(reference)[None, None]
    options: dict[str, Any] = {"include_background": True, "spacing": list(spacing_mm)}
    # MONAI computes in single precision
    assert found["HD95_mm"] == pytest.approx(
        monai_metrics.compute_hausdorff_distance(*pair, percentile=95, **options).item(), rel=1e-5
    )
    assert found["ASSD_mm"] == pytest.approx(
        monai_metrics.compute_average_surface_distance(*pair, symmetric=True, **options).item(), rel=1e-5
    )
    assert found["NSD"] == pytest.approx(monai_metrics.compute_surface_dice(*pair, [2.0], **options).item(), rel=1e-5)
    to_prediction, to_reference = itk_distances(reference, prediction, spacing_mm)
    assert found["HD95_mm"] == pytest.approx(max(np.percentile(d, 95) for d in (to_prediction, to_reference)))
    assert found["ASSD_mm"] == pytest.approx(np.concatenate([to_prediction, to_reference]).mean(), rel=1e-5)


def itk_distances(reference: np.ndarray, prediction: np.ndarray, spacing_mm: tuple[float, ...]) -> list[np.ndarray]:
    """Distances of each mask's contour to the other's, by ITK's contour and distance map."""
    contours = []
    for mask in (reference, prediction):
        image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing(spacing_mm[::-1])
        contours.append(sitk.LabelContour(image, fullyConnected=False))
    maps = [
        np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True)))
        for c in contours
    ]
    inside = [sitk.GetArrayFromImage(contour) > 0 for contour in contours]
    return [maps[1][inside[0]], maps[0][inside[1]]]


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5, 0.5), (1.0, 0.5, 0.5)])
def test_concentric_spheres(spacing_mm: tuple[float, ...]) -> None:
    """Radii of 15 and 18 mm: every distance is 3 mm, but for the voxels' size."""
    shape = tuple(round(40 / size) for size in spacing_mm)
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, spacing_mm, strict=True)]
    radius = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij")))
    reference, prediction = radius <= 15, radius <= 18
    voxels, mesh = (structure_metrics(reference, prediction, spacing_mm, 4, settings=s) for s in (VOXELS, MESH))
    assert voxels["ASSD_mm"] == pytest.approx(3, abs=0.2)
    assert voxels["HD95_mm"] == pytest.approx(3, abs=0.3)
    assert float(mesh["ASSD_mm"]) < float(voxels["ASSD_mm"])
    assert (voxels["NSD"], mesh["NSD"]) == (1, 1)
    for settings in (VOXELS, MESH):
        assert structure_metrics(reference, prediction, spacing_mm, 1.5, settings=settings)["NSD"] < 0.02
    assert voxels["Dice"] == pytest.approx(2 * 15**3 / (15**3 + 18**3), abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_mesh_against_brute_force(seed: int) -> None:
    """All pairs of surface elements with `cdist`; elements and areas derived here from scratch."""
    reference, prediction = random_pair(seed)
    found = structure_metrics(reference, prediction, SPACING_MM, tolerance_mm=2.0, settings=MESH)
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


def test_voxels_under_the_ignore_label_do_not_count() -> None:
    reference = block((6, 8, 8), (1, 4), (1, 5), (1, 5))
    prediction = reference | block((6, 8, 8), (1, 4), (6, 8), (6, 8))
    ignore = block((6, 8, 8), (0, 6), (6, 8), (0, 8))
    assert structure_metrics(reference, prediction, SPACING_MM)["Dice"] < 1
    truth = np.where(ignore, 2, reference).astype(np.uint8)
    (found,) = measure_labels(truth, prediction.astype(np.uint8), labels(1), SPACING_MM, (2.0,), ignore_label=2)
    assert (found["Dice"], found["HD95_mm"]) == (1.0, 0.0)
    assert found["volume_difference_ml"] == 0


def test_two_dimensions_measure_contours() -> None:
    reference = block((1, 12, 12), (0, 1), (3, 6), (3, 6))
    found = structure_metrics(reference, np.roll(reference, 6, axis=2), (2.0, 0.5))
    assert found["HD95_mm"] == pytest.approx(6 * 0.5)
    missed = structure_metrics(reference, np.zeros_like(reference), (2.0, 0.5))
    assert missed["HD95_mm"] == pytest.approx(math.hypot(12 * 2.0, 12 * 0.5))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 4), (3, 1, 1)])
def test_a_missed_structure_is_farther_away_than_any_found_one(shape: tuple[int, ...]) -> None:
    everything, corner = np.ones(shape, bool), np.zeros(shape, bool)
    missed = structure_metrics(everything, corner, (1.0, 1.0, 1.0))
    corner[0, 0, 0] = True
    found = structure_metrics(everything, corner, (1.0, 1.0, 1.0))
    for metric in ("HD95_mm", "ASSD_mm"):
        assert missed[metric] > found[metric]


def test_optional_metrics_by_hand() -> None:
    reference, prediction = block((5, 12, 12), (1, 4), (1, 5), (1, 5)), block((5, 12, 12), (1, 4), (1, 5), (3, 8))
    everything = MetricSettings(("sensitivity", "precision", "volume_error", "boundary_iou", "lesions"))
    found = structure_metrics(reference, prediction, (2.0, 1.0, 1.0), 0.5, settings=everything)
    # 48 and 60 voxels, of which 24 are shared
    assert found["sensitivity"] == 0.5
    assert found["precision"] == pytest.approx(24 / 60)
    assert found["relative_volume_error"] == pytest.approx(12 / 48)
    # without the inner 2 x 2 and 2 x 3 voxels of the middle slice, of which none is inside of both
    assert found["boundary_IoU"] == pytest.approx((24 - 4) / (44 + 54 - 20))
    assert [found[name] for name in ("lesions_reference", "lesions_prediction", "lesions_matched")] == [1, 1, 1]
    assert set(everything.columns) | {"in_reference", "in_prediction"} == set(found)


def test_optional_metrics_of_empty_masks() -> None:
    mask, nothing = block((4, 5, 6), (1, 2), (1, 3), (1, 3)), np.zeros((4, 5, 6), bool)
    settings = MetricSettings(("sensitivity", "precision", "volume_error", "boundary_iou", "lesions"))

    def measured(reference: np.ndarray, prediction: np.ndarray) -> list[float]:
        found = structure_metrics(reference, prediction, SPACING_MM, settings=settings)
        return [float(found[metric]) for metric in settings.metrics[5:]]

    nan = math.nan
    np.testing.assert_equal(measured(mask, nothing), [0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_equal(measured(nothing, mask), [nan, 0, nan, 0, 0, nan, 1])
    np.testing.assert_equal(measured(nothing, nothing), [nan, nan, nan, nan, nan, nan, 0])


def test_the_options_offer_what_there_is() -> None:
    """The choices are spelled out, so that ``--help`` imports nothing."""
    assert set(RULES) == set(LESION_RULES)
    everything = MetricSettings(OPTIONS)
    assert everything.metrics == tuple(METRICS)
    assert not any("{" in definition for definition in everything.definitions().values())


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['f2'\] are unknown"):
        MetricSettings(("f2",))
    with pytest.raises(ValueError, match="lesion_iou"):
        MetricSettings(lesion_iou=0)


def test_the_page_has_a_row_for_every_metric() -> None:
    page = (Path(__file__).parents[3] / "docs" / "compare-reference.md").read_text(encoding="utf-8")
    table = page.partition("<!-- metrics -->")[2].partition("<!-- end of metrics -->")[0]
    written = table.strip().splitlines()[2:]
    definitions = MetricSettings(OPTIONS).definitions()
    rows = []
    for name, metric in METRICS.items():
        option = f"`{metric.option}`" if metric.option else ""
        high = "no limit" if math.isinf(metric.high) else f"{metric.high:g}"
        direction = "higher" if metric.higher_is_better else "lower"
        heading = MILLIMETRES.heading(name)
        rows.append(f"| {heading} | {option} | {definitions[name]} | {metric.low:g} to {high} | {direction} |")
    assert written == rows
