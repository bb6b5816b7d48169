"""Patch and network input in plane."""

from __future__ import annotations

import pytest

from nnunetv2_masam.architecture import resolve_vit
from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.planning.in_plane import plan_in_plane, smaller_in_plane


@pytest.mark.parametrize(
    ("extent", "patch", "image_size"),
    [
        ((512, 512), (512, 512), (512, 512)),  # abdominal CT
        ((1024, 1280), (1040, 1280), (416, 512)),  # video: the whole frame, as the authors see it
        ((584, 565), (584, 566), (512, 496)),  # a little larger than the network's input: whole as well
        ((3000, 2000), (1280, 1280), (512, 512)),  # parts of it
        ((320, 320), (320, 320), (512, 512)),
        ((50, 36), (52, 36), (208, 144)),  # small: four pixels a voxel, whole tokens
        ((256, 216), (256, 216), (512, 432)),
        ((10, 300), (19, 300), (32, 512)),  # at least one token of 16 voxels
    ],
)
def test_in_plane(extent, patch, image_size):
    assert plan_in_plane(extent, PlanningRules()) == (patch, image_size)


@pytest.mark.parametrize("extent", [(5, 5), (17, 90), (100, 101), (511, 513), (2000, 30)])
@pytest.mark.parametrize("rules", [PlanningRules(), PlanningRules(max_upsampling=3.0, max_image_side=256)])
def test_in_plane_keeps_its_bounds(extent, rules):
    patch, image_size = plan_in_plane(extent, rules)
    for side, pixels, voxels in zip(patch, image_size, extent, strict=True):
        assert pixels % 16 == 0
        assert 16 <= pixels <= rules.max_image_side
        assert 16 <= side <= rules.max_patch_side
        assert side >= min(voxels, rules.max_patch_side)
    # the same enlargement along both sides, to within a token
    factor = min(rules.max_upsampling, rules.max_image_side / max(patch))
    for side, pixels in zip(patch, image_size, strict=True):
        assert abs(side * factor - pixels) <= 16


LITE = PlanningRules(vit="lite_medsam", max_image_side=256, max_upsampling=3.0, min_image_side=112)


@pytest.mark.parametrize(
    ("rules", "extent", "patch", "image_size"),
    [
        (LITE, (50, 36), (56, 37), (168, 112)),  # threefold, in half windows of 28 pixels
        (LITE, (512, 512), (512, 512), (252, 252)),
        (LITE, (320, 260), (320, 284), (252, 224)),
        (PlanningRules(vit="mobile_sam"), (512, 512), (512, 512), (448, 448)),  # in half windows of 112 pixels
        (PlanningRules(vit="mobile_sam"), (50, 36), (56, 56), (224, 224)),
    ],
)
def test_in_a_hierarchical_encoder_windows_are_half_full_at_least(rules, extent, patch, image_size):
    assert plan_in_plane(extent, rules) == (patch, image_size)
    vit = resolve_vit(rules.vit)
    for side in image_size:
        for stride, window in zip(vit.strides[1:], vit.windows, strict=True):
            assert side // stride % window in (0, window // 2)
    for smaller, _ in zip(smaller_in_plane(extent, rules), range(2), strict=False):
        assert max(smaller.image_size) < max(image_size)


def test_smaller_inputs_first_lose_resolution_then_parts_of_the_slice():
    sizes = list(smaller_in_plane((512, 512), PlanningRules()))
    assert [image_size for _, image_size in sizes] == [(side, side) for side in range(496, 223, -16)]
    assert {patch for patch, _ in sizes} == {(512, 512)}

    sizes = list(smaller_in_plane((1024, 1280), PlanningRules()))  # has 0.4 pixels a voxel to begin with
    assert sizes[0] == ((1040, 1240), (416, 496))
    assert sizes[-1] == ((560, 560), (224, 224))
    for patch, image_size in sizes:
        assert [voxels * 0.4 for voxels in patch] == pytest.approx(image_size)


def test_nothing_is_smaller_than_an_input_that_the_recipe_fixes_or_a_small_one():
    assert list(smaller_in_plane((512, 512), PlanningRules(image_size=(512, 512)))) == []
    assert list(smaller_in_plane((50, 36), PlanningRules())) == []


def test_rules_refuse_what_has_no_meaning():
    with pytest.raises(ValueError, match="slices: got 3"):
        PlanningRules(slices=3)
    with pytest.raises(ValueError, match="min_upsampling, max_upsampling: got 5"):
        PlanningRules(min_upsampling=5.0)
