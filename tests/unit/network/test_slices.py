"""Volumes to slices and back, and resizing in plane."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_masam.network.slices import resize_in_plane, slices_to_volume, volume_to_slices


def test_slices_of_a_sample_stay_neighbours():
    volume = torch.arange(2 * 3 * 4 * 5 * 6.0).view(2, 3, 4, 5, 6)
    slices = volume_to_slices(volume, (5, 6))
    assert slices.shape == (8, 3, 5, 6)
    for sample in range(2):
        for d in range(4):
            assert torch.equal(slices[4 * sample + d], volume[sample, :, d])
    assert torch.equal(slices_to_volume(slices, 4), volume)


def test_the_size_that_it_has_already_copies_nothing():
    x = torch.randn(2, 1, 5, 7)
    assert resize_in_plane(x, (5, 7), mode="bilinear") is x


@pytest.mark.parametrize("size", [(20, 30), (5, 3), (3, 30)])
def test_shrinking_averages(size):
    x = torch.randn(2, 1, 10, 9)
    shrinks = size != (20, 30)
    expected = F.interpolate(x, size, mode="bicubic", align_corners=False, antialias=shrinks)
    assert torch.equal(resize_in_plane(x, size, mode="bicubic"), expected)
    assert torch.equal(
        resize_in_plane(torch.ones_like(x), size, mode="bilinear").round(decimals=5), torch.ones(2, 1, *size)
    )


def test_every_pixel_of_shrunk_logits_gets_a_gradient():
    x = torch.randn(1, 1, 64, 64, requires_grad=True)
    resize_in_plane(x, (10, 10), mode="bilinear").sum().backward()
    assert (x.grad > 0).all()
