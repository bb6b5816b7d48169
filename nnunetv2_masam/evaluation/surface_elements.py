"""Surface elements at the voxel corners of a mask, weighted by area: the surface that defines NSD.

Nikolov et al. 2021 (doi:10.2196/26151) triangulate the 2 × 2 × 2 voxels around each corner by marching cubes, and
give the corner the area of those triangles. The areas are computed here from scikit-image's triangulation (Lorensen
and Cline 1987); they equal those of DeepMind's ``surface-distance``. A mask and its complement have the same surface,
so a neighbourhood with more than four voxels inside is triangulated as its complement.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


def corner_codes(mask: np.ndarray) -> np.ndarray:
    """Which of the voxels around each corner between the voxels of a mask are inside of it.

    Args:
        mask: boolean, (D, H, W) or (H, W). Pad it by a voxel for the corners on its outside.

    Returns:
        uint8, one element less along each axis. The voxel at offset (i, j, k) of the corner's neighbourhood sets bit
        4i + 2j + k, or 2i + j in 2D. No bit is set outside of the mask and all are set inside.
    """
    codes: np.ndarray = mask.astype(np.uint8)
    for axis in range(mask.ndim):
        first, second = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        shift = 1 << (mask.ndim - 1 - axis)
        codes = codes[tuple(first)] | codes[tuple(second)] << shift
    return codes


@lru_cache(maxsize=64)
def element_areas(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Area in mm² (length in mm in 2D) of the surface element of every corner code, (256,) or (16,)."""
    if len(spacing_mm) == 2:
        return np.array([_contour_length(code, spacing_mm) for code in range(16)])
    faces_mm2 = np.prod(spacing_mm) / np.asarray(spacing_mm)  # of a voxel, by the axis that they are normal to
    return np.array([np.linalg.norm(normals * faces_mm2, axis=1).sum() for normals in _normals()])


@lru_cache(maxsize=1)
def _normals() -> list[np.ndarray]:
    """Normals of each code's triangles for a voxel size of 1, as long as their area, (triangles, 3)."""
    from skimage.measure import marching_cubes

    found = []
    for code in range(256):
        cube = _neighbourhood(code if code.bit_count() <= 4 else 255 - code, 3)
        if not cube.any():
            found.append(np.zeros((0, 3)))
            continue
        vertices, triangles, *_ = marching_cubes(cube.astype(float), 0.5, method="lorensen")
        first, second, third = vertices[triangles].astype(float).transpose(1, 0, 2)
        found.append(np.cross(second - first, third - first) / 2)
    return found


def _contour_length(code: int, spacing_mm: tuple[float, ...]) -> float:
    square = _neighbourhood(code, 2)
    corner_mm = math.hypot(*spacing_mm) / 2  # cuts off a single pixel
    if square.sum() in (0, 4):
        return 0.0
    if square.sum() in (1, 3):
        return corner_mm
    if square[0, 0] == square[1, 1]:
        return 2 * corner_mm
    return spacing_mm[1] if square[0, 0] == square[0, 1] else spacing_mm[0]


def _neighbourhood(code: int, dimensions: int) -> np.ndarray:
    return (code >> np.arange(2**dimensions) & 1).astype(bool).reshape((2,) * dimensions)
