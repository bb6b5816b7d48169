"""Volumes to slices on the batch axis, and slices back to volumes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def volume_to_slices(volume: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Put the slices of every sample on the batch axis, at the network's input size.

    Args:
        volume: (B, C, D, H, W).
        image_size: (S, S'), pixels.

    Returns:
        (B·D, C, S, S'); slices of one sample stay neighbours.
    """
    batch, channels, depth, height, width = volume.shape
    slices = volume.transpose(1, 2).reshape(batch * depth, channels, height, width)  # (N, C, H, W)
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
