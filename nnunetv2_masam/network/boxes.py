"""Convert a channel that is 1 inside a box to SAM's box coordinates, one box for all slices of a stack.

SAM's boxes name the first and the last pixel inside. Voxel j covers the pixels from j·f to (j + 1)·f − 1, with f pixels
of network input for a voxel, so a box keeps its extent whatever slices are resized to.
"""

from __future__ import annotations

import torch
from torch import Tensor

INSIDE = 0.5  # resampling and rotation leave soft edges; what is above is inside


def boxes_of_channel(channel: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The in-plane extent, over all slices of a stack, of what the channel (B, D, H, W) marks.

    Returns:
        (B, D, 4) as x0, y0, x1, y1 in pixels of the network's input, ``image_size`` = (S, S'); the same for the D
        slices of a stack, NaN where nothing is marked.
    """
    marked = (channel > INSIDE).any(dim=1)  # (B, H, W)
    y0, y1 = _extent(marked.any(dim=2), image_size[0])
    x0, x1 = _extent(marked.any(dim=1), image_size[1])
    boxes = torch.stack([x0, y0, x1, y1], dim=1)  # (B, 4)
    empty = ~marked.flatten(1).any(dim=1, keepdim=True)  # (B, 1)
    return boxes.masked_fill(empty, torch.nan)[:, None].expand(-1, channel.shape[1], -1)


def _extent(marked: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """First and last pixel of what (B, voxels along an axis) marks; meaningless where it marks nothing."""
    voxels = marked.shape[1]
    first = marked.int().argmax(dim=1)
    past = voxels - marked.flip(1).int().argmax(dim=1)
    scale = pixels / voxels
    low = first * scale
    return low, torch.maximum(past * scale - 1, low)
