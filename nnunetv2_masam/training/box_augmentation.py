"""Keeping the box channel a box while nnU-Net augments images.

Its intensity transforms work on all channels of an image. What moves with the image and keeps its values is the
``regression_target`` of the same pipeline, so the box channel travels there and comes back as the last channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor

from nnunetv2_masam.network.boxes import INSIDE


class BoxApart(BasicTransform):
    """Take the last channel of the image away, out of reach of intensity transforms."""

    def apply(self, data_dict: dict[str, Any], **_: Any) -> dict[str, Any]:
        """(C, D, H, W) or (C, H, W) to one channel fewer."""
        image = data_dict["image"]
        return {**data_dict, "image": image[:-1], "regression_target": image[-1:]}


class BoxBack(BasicTransform):
    """Put the box back as the last channel, binary again and with a random error.

    Args:
        jitter_vox: along (H, W): every face is moved by a random distance of at most this, in or out. Boxes of the same
            patch become one, as they do for the network.
    """

    def __init__(self, jitter_vox: Sequence[float]) -> None:
        super().__init__()
        self.jitter_vox = tuple(jitter_vox)

    def apply(self, data_dict: dict[str, Any], **_: Any) -> dict[str, Any]:
        """(C, D, H, W) or (C, H, W) to one channel more."""
        data_dict = dict(data_dict)
        marked = data_dict.pop("regression_target") > INSIDE
        if any(self.jitter_vox) and marked.any():
            marked = _jittered(marked, self.jitter_vox)
        image = data_dict["image"]
        return {**data_dict, "image": torch.cat([image, marked.to(image.dtype)])}


def _jittered(marked: Tensor, jitter_vox: Sequence[float]) -> Tensor:
    """(1, D, H, W) or (1, H, W): one rectangle with moved faces, in the slices that were marked."""
    rectangle = torch.ones_like(marked)
    for axis, jitter in zip((-2, -1), jitter_vox, strict=True):
        size = marked.shape[axis]
        found = marked.movedim(axis, 0).flatten(1).any(dim=1).nonzero()[:, 0]
        # numpy's generator, from which nnU-Net's own transforms draw angles, sizes and strengths
        down, up = np.rint(np.random.uniform(-jitter, jitter, 2)).astype(int)
        low = int(np.clip(int(found[0]) + down, 0, size - 1))
        high = int(np.clip(int(found[-1]) + 1 + up, low + 1, size))
        inside = torch.zeros(size, dtype=torch.bool)
        inside[low:high] = True
        rectangle &= inside[:, None] if axis == -2 else inside
    return rectangle & marked.flatten(-2).any(dim=-1)[..., None, None]
