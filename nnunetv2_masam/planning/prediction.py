"""How many slices prediction takes at once.

The authors compute every slice five times, in the five stacks that it lies in. nnU-Net's sliding window computes it
twice, with tiles that overlap by half. A tile of as many slices as the image has computes it once, and its adapters see
neighbours on both sides of nearly every slice. ``benchmarks/prediction_depth.py`` shows what that does to the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nnunetv2_masam.network.arguments import DEFAULTS
from nnunetv2_masam.network.presets import EMBEDDING_CHANNELS, TOKENS_AT_ONCE
from nnunetv2_masam.planning.fit import Task
from nnunetv2_masam.planning.memory import CONTEXT_GB, FLOAT, GB, Architecture, count_parameters

_OVER_THE_MEDIAN = 1.25  # most images then fit into one tile; a longer one takes several, overlapping by half
_SHARE_OF_MEMORY = 0.5  # the rest is for nnU-Net's sums over tiles
_MLP_NUMBERS = 11  # for every token and channel at the MLP, where a group of slices needs most
_NECK_TENSORS = 4  # of the embedding's size, in its normalisation
_TIMM_NUMBERS = 16  # for every token and channel in the attention of timm's blocks, which take all slices at once


def prediction_slices(
    median_slices: float, task: Task, arch_kwargs: Mapping[str, Any], patch: tuple[int, int], vram_gb: float
) -> int:
    """D of the tiles of prediction: somewhat more than the median image has, as far as memory goes.

    A network with box prompts keeps the stacks of its training, because a stack has one box.

    Args:
        median_slices: of the images.
        task: of the data set.
        arch_kwargs: the network's arguments.
        patch: H and W, voxels.
        vram_gb: memory target of one GPU in GB.
    """
    if arch_kwargs.get("prompt", DEFAULTS.prompt) == "box":
        return task.slices
    total, _ = count_parameters(Architecture.of(arch_kwargs), task.num_classes, task.input_channels)
    free_bytes = (vram_gb - CONTEXT_GB) * GB - FLOAT * total
    for_slices = _SHARE_OF_MEMORY * free_bytes - group_bytes(arch_kwargs)
    affordable = int(for_slices / slice_bytes(arch_kwargs, patch, task.input_channels, task.num_classes))
    return max(task.slices, min(math.ceil(_OVER_THE_MEDIAN * median_slices), affordable))


def group_bytes(arch_kwargs: Mapping[str, Any]) -> int:
    """Memory of prediction in float32 that does not grow with the slices: of the group that a block works on."""
    network = Architecture.of(arch_kwargs)
    return 0 if network.timm is not None else FLOAT * TOKENS_AT_ONCE * network.vit.embed_dim * _MLP_NUMBERS


def slice_bytes(arch_kwargs: Mapping[str, Any], patch: tuple[int, int], input_channels: int, num_classes: int) -> int:
    """Memory of prediction in float32 that each slice takes.

    nnU-Net's mirroring keeps the sum of the logits so far while the image encoder works on the next flip, and then adds
    the next logits, which it flips back: three of their size.
    """
    network = Architecture.of(arch_kwargs)
    dim = network.vit.embed_dim
    # beside the tokens: the embedding of patches, the neck, or what the adapters reduce them to
    numbers = dim + max(dim, _NECK_TENSORS * EMBEDDING_CHANNELS, 2 * network.adapter_channels)
    if network.timm is not None:
        numbers = max(numbers, _TIMM_NUMBERS * dim)
    encoder = network.tokens * numbers
    image_size = tuple(arch_kwargs["image_size"])
    if image_size != patch:
        encoder += input_channels * math.prod(image_size)
    logits = num_classes * math.prod(patch)
    return FLOAT * max(encoder + logits, 3 * logits)
