"""Resampling of logits and their labels, one slice at a time, by the rule of nnU-Net's export.

nnU-Net resamples all classes of a whole volume to the original grid, and takes the labels then. Here each slice of
logits is resampled in plane, neighbours are mixed to a slice of the original grid, and its labels are taken at once.
Sample positions, nearest neighbours along a coarse axis and the rounding of the result to half precision are nnU-Net's;
sums are in float32, where its default uses float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

_DEFAULT, _TORCH, _NONE = "resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack"
_LINEAR_MODES = {"mode": "linear", "aniso_axis_mode": "nearest-exact"}


@dataclass(frozen=True)
class Resampling:
    """Resampling of logits to the original grid.

    Attributes:
        source: shape (D, H, W) of the logits.
        target: shape (D, H, W) of the original grid, cropped.
        nearest_axis: the axis that is resampled by nearest neighbours; the others are linear.
        by_torch: whether the rule is that of ``resample_torch_fornnunet``, which rounds no logits.
    """

    source: tuple[int, int, int]
    target: tuple[int, int, int]
    nearest_axis: int | None = None
    by_torch: bool = False


def resampling_of(
    configuration: Mapping[str, Any],
    source: Sequence[int],
    target: Sequence[int],
    spacing_mm: Sequence[float],
    target_spacing_mm: Sequence[float],
) -> Resampling:
    """The rule of a configuration for a case, of which shapes and spacings are given.

    Raises:
        ValueError: the plans name another function, or arguments that it is not computed with here.
    """
    from nnunetv2.configuration import ANISO_THRESHOLD
    from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis

    name = configuration["resampling_fn_probabilities"]
    options = configuration["resampling_fn_probabilities_kwargs"]
    before, after = _sizes(source), _sizes(target)
    if name == _NONE:
        return Resampling(before, after)
    linear = name == _DEFAULT and options.get("order", 3) == 1 and options.get("order_z", 0) == 0
    linear |= name == _TORCH and all(options.get(key, value) == value for key, value in _LINEAR_MODES.items())
    if not linear or options.get("is_seg", False):
        raise ValueError(
            f"resampling_fn_probabilities of the plans: got {name} with {options}, expected {_DEFAULT} of order 1 with "
            f"order_z 0, {_TORCH} with its default modes, or {_NONE}. Predict with nnUNetv2_predict"
        )
    force = options.get("force_separate_z", False if name == _DEFAULT else None)
    threshold = options.get("separate_z_anisotropy_threshold", ANISO_THRESHOLD)
    separate, axis = determine_do_sep_z_and_axis(force, spacing_mm, target_spacing_mm, threshold)
    return Resampling(before, after, int(axis) if separate else None, name == _TORCH)


def _sizes(shape: Sequence[int]) -> tuple[int, int, int]:
    depth, height, width = (int(size) for size in shape)
    return depth, height, width


@torch.inference_mode()
def resample_slices(slices: Iterable[Tensor], rule: Resampling) -> Iterator[Iterable[Tensor]]:
    """Slices (K, H, W) of logits in half precision, in their order → slices of the original grid, in float32.

    Yields:
        the K planes (H, W) of a slice, made as they are asked for, which must be before the next slice is.
    """
    if rule.source == rule.target:
        yield from ((plane.float() for plane in logits) for logits in slices)
        return
    below, above, shares = _neighbours(rule)
    needed = {*below.tolist(), *above.tolist()}
    planes: dict[int, Tensor] = {}
    target = 0
    for index, logits in enumerate(slices):
        if index in needed:
            planes[index] = _in_plane(logits.float(), rule)
        while target < len(above) and above[target] <= index:
            first, second, share = int(below[target]), int(above[target]), float(shares[target])
            yield _mixed(planes[first], planes[second], share, rule)
            target += 1
        first_needed = int(below[target]) if target < len(below) else index + 1
        planes = {key: plane for key, plane in planes.items() if key >= first_needed}


def _mixed(first: Tensor, second: Tensor, share: float, rule: Resampling) -> Iterator[Tensor]:
    for before, after in zip(first, second, strict=True):
        mixed = torch.lerp(before, after, share) if share else before
        yield mixed if rule.by_torch else mixed.half().float()


def _neighbours(rule: Resampling) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each slice of the original grid the slices of the logits around it, and the share of the second."""
    before, after = rule.source[0], rule.target[0]
    if rule.nearest_axis == 0:
        nearest = _nearest(before, after, rule.by_torch)
        return nearest, nearest, np.zeros(after)
    positions = np.clip((np.arange(after) + 0.5) * (before / after) - 0.5, 0, before - 1)
    below = np.floor(positions).astype(int)
    return below, np.ceil(positions).astype(int), positions - below


def _nearest(before: int, after: int, by_torch: bool) -> np.ndarray:
    """The nearest old index of each new one; where two are as near, as scipy or torch has it."""
    if by_torch:
        indices = torch.arange(before, dtype=torch.float32, device="cpu")
        return functional.interpolate(indices[None, None], after, mode="nearest-exact")[0, 0].numpy().astype(int)
    positions = np.clip((before / after) * (np.arange(after) + 0.5) - 0.5, 0, before - 1)
    return np.floor(positions + 0.5).astype(int)


def _in_plane(logits: Tensor, rule: Resampling) -> Tensor:
    """(K, H, W) → (K, H, W) of the original grid."""
    size = list(rule.target[1:])
    for axis in (1, 2):
        if rule.nearest_axis == axis:
            indices = _nearest(rule.source[axis], rule.target[axis], rule.by_torch)
            logits = logits.index_select(axis, torch.as_tensor(indices, device=logits.device))
    if list(logits.shape[1:]) == size:
        return logits
    return functional.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]


@torch.inference_mode()
def labels_of(planes: Iterable[Tensor], label_manager: LabelManager) -> Tensor:
    """Logits (H, W) of K classes, one after the other, → labels (H, W): the first largest, or the last region.

    Class by class, because all classes of a slice do not fit into a processor's cache.
    """
    iterator = iter(planes)
    best = next(iterator)
    labels = torch.zeros_like(best, dtype=torch.int16)
    if label_manager.has_regions:
        for value, logits in zip(label_manager.regions_class_order, chain([best], iterator), strict=True):
            labels.masked_fill_(label_manager.apply_inference_nonlin(logits) > 0.5, value)
        return labels
    for label, logits in enumerate(iterator, 1):
        labels = torch.where(logits > best, label, labels)
        best = torch.maximum(best, logits)
    return labels
