"""Volumes to slices on the batch axis, and slices back to volumes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def volume_to_slices(volume: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Put slices on the batch axis, those of a sample side by side: (B, C, D, H, W) to (B·D, C, *image_size)."""
    slices = volume.transpose(1, 2).flatten(0, 1)  # (N, C, H, W)
    return resize_in_plane(slices, image_size, mode="bicubic")


def slices_to_volume(slices: Tensor, depth: int) -> Tensor:
    """Take the slices of every sample off the batch axis: (B·D, K, H, W) to (B, K, D, H, W), for ``depth`` = D."""
    return slices.unflatten(0, (-1, depth)).transpose(1, 2)


def resize_in_plane(slices: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Interpolate (N, C, H, W) to (N, C, *size); nothing happens where the size is already that.

    Shrinking averages over the pixels that a voxel covers (antialias), so that no pixel of the logits goes without
    a gradient.
    """
    if slices.shape[-2:] == torch.Size(size):
        return slices
    shrinks = size[0] < slices.shape[-2] or size[1] < slices.shape[-1]
    return F.interpolate(slices, size, mode=mode, align_corners=False, antialias=shrinks)


def map_range(slices: Tensor, input_range: tuple[float, float] | None) -> Tensor:
    """Map ``input_range`` to 0 to 1 and clamp what lies beyond; None leaves the slices as they are."""
    if input_range is None:
        return slices
    low, high = input_range
    return ((slices - low) / (high - low)).clamp(0, 1)
