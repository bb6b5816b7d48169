"""Plan in plane: the patch in voxels, and the network's input in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nnunetv2_masam.architecture import HIERA, HIERA_STEP, PATCH_SIZE, TinyViTSize, resolve_vit
from nnunetv2_masam.planning.rules import PlanningRules

MIN_PATCH_SIDE = 16  # voxels


class InPlane(NamedTuple):
    """Sizes in plane.

    Attributes:
        patch: (H, W) in voxels.
        image_size: (S, S') of the network's input, in pixels.
    """

    patch: tuple[int, int]
    image_size: tuple[int, int]


def token_side(rules: PlanningRules) -> int:
    """Pixels along each side of a token of the image encoder's output."""
    return resolve_vit(rules.vit).stride if rules.encoder == "sam" else PATCH_SIZE


def side_step(rules: PlanningRules) -> int:
    """Pixels that the sides of the network's input are multiples of.

    A token in a plain ViT, whose windows may be cut off. In a hierarchical encoder, whose tokens can be small, the
    smallest window of the last stage: then smaller windows are whole and larger ones at least half full. In SAM 2's
    Hiera, what its position table asks for.
    """
    if rules.encoder.startswith(HIERA):
        return HIERA_STEP
    vit = resolve_vit(rules.vit)
    if rules.encoder == "sam" and isinstance(vit, TinyViTSize):
        return vit.stride * min(vit.windows)
    return token_side(rules)


def plan_in_plane(median_extent: Sequence[int], rules: PlanningRules) -> InPlane:
    """In-plane patch and network input for a median in-plane extent in voxels.

    The patch is the whole slice, as far as its longest side leaves ``min_upsampling`` pixels to a voxel, so that one
    pass sees all of it. The network's input is the patch enlarged by at most ``max_upsampling`` and at most to
    ``max_image_side``, because a token covers several pixels and small structures need several tokens.
    """
    patch = _patch(median_extent, rules)
    if rules.image_size is not None:
        return InPlane(patch, rules.image_size)
    return _resized(patch, min(rules.max_upsampling, _longest_side(rules) / max(patch)), rules)


def smaller_in_plane(median_extent: Sequence[int], rules: PlanningRules) -> Iterator[InPlane]:
    """The same at ever smaller network inputs, the longest side a step shorter each time, down to ``min_image_side``.

    A voxel gets fewer pixels until it has no more than ``min_upsampling``; from then on the patch is a part of the
    slice. Where the recipe fixes the network's input, there is nothing smaller.
    """
    if rules.image_size is not None:
        return
    patch = _patch(median_extent, rules)
    longest = max(plan_in_plane(median_extent, rules).image_size)
    for side in range(longest - side_step(rules), rules.min_image_side - 1, -side_step(rules)):
        factor = max(side / max(patch), min(rules.min_upsampling, longest / max(patch)))
        rows, columns = (min(voxels, round(side / factor)) for voxels in patch)
        yield _resized((rows, columns), factor, rules)


def _patch(extent: Sequence[int], rules: PlanningRules) -> tuple[int, int]:
    height, width = (min(max(side, MIN_PATCH_SIDE), rules.max_patch_side) for side in extent)
    return height, width


def _longest_side(rules: PlanningRules) -> int:
    """Pixels of the longest side that the recipe allows, in whole steps."""
    step = side_step(rules)
    return max(1, rules.max_image_side // step) * step


def _resized(patch: tuple[int, int], factor: float, rules: PlanningRules) -> InPlane:
    """The patch times ``factor``, in whole steps.

    The enlargement is the same along both sides; the patch is rounded up to voxels that fill whole steps, so that it
    is not distorted.
    """
    step = side_step(rules)
    steps = [max(1, math.ceil(round(side * factor / step, 6))) for side in patch]
    height, width = (min(n * step, _longest_side(rules)) for n in steps)
    rows, columns = (
        min(max(side, round(pixels / factor)), rules.max_patch_side)
        for side, pixels in zip(patch, (height, width), strict=True)
    )
    return InPlane((rows, columns), (height, width))
