"""Border voxels and surface elements, compared with SciPy, MONAI and areas that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from nnunetv2_masam.evaluation.surfaces import border_of, corner_codes, element_areas, surface_metrics

SPACING_MM = (5.0, 2.0, 0.5)


@pytest.mark.parametrize("shape", [(7, 8, 9), (8, 9), (1, 8, 9), (1, 1, 1)])
def test_border_voxels_equal_an_erosion(shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.9
    np.testing.assert_array_equal(border_of(mask), mask & ~ndimage.binary_erosion(mask))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), SPACING_MM, (0.3, 1.7, 4.0)])
def test_areas_of_all_neighbourhoods_against_monai(spacing_mm: tuple[float, ...]) -> None:
    """MONAI has the table of surface-distance; it numbers the neighbours in reverse and in single precision."""
    utils = pytest.importorskip("monai.metrics.utils")
    table, _ = utils.create_table_neighbour_code_to_surface_area(spacing_mm)
    reverse = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
    np.testing.assert_allclose(element_areas(spacing_mm), np.asarray(table)[reverse], rtol=1e-6)


def test_lengths_of_all_neighbourhoods_against_monai() -> None:
    utils = pytest.importorskip("monai.metrics.utils")
    table, _ = utils.create_table_neighbour_code_to_contour_length((2.0, 0.5))
    reverse = [int(f"{code:04b}"[::-1], 2) for code in range(16)]
    np.testing.assert_allclose(element_areas((2.0, 0.5)), np.asarray(table)[reverse], rtol=1e-6)


def test_areas_by_hand() -> None:
    areas = element_areas(SPACING_MM)
    assert (areas[0], areas[255]) == (0, 0)
    # a plane through all four edges along each axis: the voxel's face
    assert areas[0b00001111] == pytest.approx(2.0 * 0.5)
    assert areas[0b00110011] == pytest.approx(5.0 * 0.5)
    assert areas[0b01010101] == pytest.approx(5.0 * 2.0)
    # one voxel: a triangle that cuts the three edges in half
    corner = 0.5 * math.sqrt((2 * 0.5) ** 2 + (5 * 0.5) ** 2 + (5 * 2) ** 2) / 4
    assert areas[1] == pytest.approx(corner)
    assert areas[254] == pytest.approx(corner)


def test_a_large_box_has_its_own_area() -> None:
    """All but its edges, which the elements cut off."""
    mask = np.pad(np.ones((20, 20, 20), bool), 1)
    total = element_areas((1.0, 1.0, 1.0))[corner_codes(mask)].sum()
    assert total == pytest.approx(6 * 19**2 + 12 * 19 * math.sqrt(0.5) + 8 * math.sqrt(3) / 8)


@pytest.mark.parametrize("surface", ["voxels", "mesh"])
def test_masks_that_fill_the_image(surface: str) -> None:
    """The image's edge is a surface, for both masks."""
    everything = np.ones((3, 4, 5), bool)
    found = surface_metrics(everything, everything, SPACING_MM, 0.0, surface, surface)
    assert found == {"HD95_mm": 0.0, "ASSD_mm": 0.0, "NSD": 1.0}
    half = everything.copy()
    half[:, :, 3:] = False
    found = surface_metrics(everything, half, SPACING_MM, 0.6, surface, surface)
    assert found["HD95_mm"] == pytest.approx(2 * 0.5)


def test_a_cube_that_is_moved_by_a_voxel() -> None:
    """What surface-distance 0.1 and MONAI with subvoxels say, and what MONAI says by default."""
    cube = np.zeros((10, 10, 10), bool)
    cube[3:7, 3:7, 3:7] = True
    moved = np.roll(cube, 1, axis=0)
    subvoxel = surface_metrics(cube, moved, (1, 1, 1), 0.5, "voxels", "mesh")["NSD"]
    voxels = surface_metrics(cube, moved, (1, 1, 1), 0.5, "voxels", "voxels")["NSD"]
    assert (round(subvoxel, 3), round(voxels, 3)) == (0.663, 0.643)
