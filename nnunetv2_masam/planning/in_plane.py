"""In plane: the patch in voxels and the size in pixels that the network sees it at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nnunetv2_masam.architecture import PATCH_SIZE
from nnunetv2_masam.planning.rules import PlanningRules


class InPlane(NamedTuple):
    """Sizes in plane.

    Attributes:
        patch: (H, W) in voxels.
        image_size: (S, S') of the network's input, in pixels.
    """

    patch: tuple[int, int]
    image_size: tuple[int, int]


def plan_in_plane(median_extent: Sequence[int], rules: PlanningRules) -> InPlane:
    """In-plane patch and network input for a median in-plane extent in voxels.

    The patch is the whole slice, as far as its longest side leaves ``min_upsampling`` pixels to a voxel, so that one
    pass sees all of it. The network's input is the patch enlarged by at most ``max_upsampling`` and at most to
    ``max_image_side``, because tokens are 16 pixels wide and small structures need several.
    """
    patch = _patch(median_extent, rules)
    if rules.image_size is not None:
        return InPlane(patch, rules.image_size)
    return _resized(patch, min(rules.max_upsampling, rules.max_image_side / max(patch)), rules)


def smaller_in_plane(median_extent: Sequence[int], rules: PlanningRules) -> Iterator[InPlane]:
    """The same at ever smaller network inputs, the longest side a token shorter each time, down to ``min_image_side``.

    A voxel gets fewer pixels until it has no more than ``min_upsampling``; from then on the patch is a part of the
    slice. Where the recipe fixes the network's input, there is nothing smaller.
    """
    if rules.image_size is not None:
        return
    patch = _patch(median_extent, rules)
    longest = max(plan_in_plane(median_extent, rules).image_size)
    for side in range(longest - PATCH_SIZE, rules.min_image_side - 1, -PATCH_SIZE):
        factor = max(side / max(patch), min(rules.min_upsampling, longest / max(patch)))
        rows, columns = (min(voxels, round(side / factor)) for voxels in patch)
        yield _resized((rows, columns), factor, rules)


def _patch(extent: Sequence[int], rules: PlanningRules) -> tuple[int, int]:
    height, width = (min(max(side, PATCH_SIZE), rules.max_patch_side) for side in extent)
    return height, width


def _resized(patch: tuple[int, int], factor: float, rules: PlanningRules) -> InPlane:
    """The patch times ``factor``, in whole tokens.

    The enlargement is the same along both sides; the patch is rounded up to voxels that fill whole tokens, so that it
    is not distorted.
    """
    tokens = [max(1, math.ceil(round(side * factor / PATCH_SIZE, 6))) for side in patch]
    tokens = [min(n, rules.max_image_side // PATCH_SIZE) for n in tokens]
    height, width = (n * PATCH_SIZE for n in tokens)
    rows, columns = (
        min(max(side, round(pixels / factor)), rules.max_patch_side)
        for side, pixels in zip(patch, (height, width), strict=True)
    )
    return InPlane((rows, columns), (height, width))
