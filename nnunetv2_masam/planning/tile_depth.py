"""Choose how many slices prediction takes at once.

The authors compute every slice five times, in the five stacks that it lies in. nnU-Net's sliding window computes it
twice, with tiles that overlap by half. A tile of as many slices as the image has computes it once, and its adapters see
neighbours on both sides of nearly every slice. ``benchmarks/prediction_depth.py`` shows what that does to the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nnunetv2_masam.architecture import DEFAULTS, EMBEDDING_CHANNELS, TinyViTSize
from nnunetv2_masam.planning.fit import Task
from nnunetv2_masam.planning.hiera_bytes import hiera_slice_bytes
from nnunetv2_masam.planning.memory import CONTEXT_GB, FLOAT, GB, Architecture, count_parameters
from nnunetv2_masam.planning.timm_size import HieraSize
from nnunetv2_masam.planning.tiny_vit_bytes import NECK_TENSORS, tiny_vit_slice_bytes

_OVER_THE_MEDIAN = 1.25  # most images then fit into one tile; a longer one takes several, overlapping by half
_SHARE_OF_MEMORY = 0.5  # the rest is for nnU-Net's sums over tiles
HALF = 2  # bytes
_TIMM_NUMBERS = 17  # for every token and channel, in 16 bits, in the attention of timm's blocks


def prediction_slices(
    median_slices: float, task: Task, arch_kwargs: Mapping[str, Any], patch: tuple[int, int], vram_gb: float
) -> int:
    """D of the tiles of prediction: somewhat more than the median image has, as far as memory goes.

    A network with box prompts keeps the stacks of its training, because a stack has one box.

    Args:
        median_slices: of the images.
        task: of the dataset.
        arch_kwargs: the network's arguments.
        patch: H and W, voxels.
        vram_gb: memory target of one GPU in GB.
    """
    if arch_kwargs.get("prompt", DEFAULTS.prompt) == "box":
        return task.slices
    total, _ = count_parameters(Architecture.of(arch_kwargs), task.num_classes, task.input_channels)
    free_bytes = (vram_gb - CONTEXT_GB) * GB - FLOAT * total
    affordable = int(
        _SHARE_OF_MEMORY * free_bytes / slice_bytes(arch_kwargs, patch, task.input_channels, task.num_classes)
    )
    return max(task.slices, min(math.ceil(_OVER_THE_MEDIAN * median_slices), affordable))


def slice_bytes(arch_kwargs: Mapping[str, Any], patch: tuple[int, int], input_channels: int, num_classes: int) -> int:
    """Memory of prediction that each slice takes.

    For a plain ViT it is that under autocast to 16 bits, as nnU-Net predicts on a GPU, for a hierarchical encoder that
    in float32. A CPU needs no more: it takes a few slices at a time. nnU-Net's mirroring keeps the sum
    of the logits so far while the image encoder works on the next flip, and then adds the next logits, which it flips
    back: three of their size.
    """
    network = Architecture.of(arch_kwargs)
    if isinstance(network.size, TinyViTSize):
        encoder = tiny_vit_slice_bytes(network)
    elif isinstance(network.size, HieraSize):
        encoder = hiera_slice_bytes(network)
    else:
        encoder = network.tokens * _token_bytes(network)
    image_size = tuple(arch_kwargs["image_size"])
    if image_size != patch:
        encoder += FLOAT * input_channels * math.prod(image_size)
    logits = FLOAT * num_classes * math.prod(patch)
    return max(encoder + logits, 3 * logits)


def _token_bytes(network: Architecture) -> int:
    """Memory that each token takes in a plain ViT."""
    dim = network.vit.embed_dim
    return max(
        *(_attention_bytes(network, index) for index in range(network.vit.depth)),
        2 * FLOAT * dim + HALF * (dim + 2 * network.vit.mlp_width),  # both sides of GELU
        FLOAT * (dim + max(dim, NECK_TENSORS * EMBEDDING_CHANNELS)),
    )


def _attention_bytes(network: Architecture, index: int) -> int:
    """Memory that each token takes in the plain form of attention, in block ``index``."""
    dim, heads = network.vit.embed_dim, network.vit.num_heads
    kept = 2 * FLOAT * dim  # the residual and its normalisation
    projected = 1 + 3 + 3  # the normalisation in 16 bits; query, key and value, and the same in windows
    if network.timm is not None:
        return kept + HALF * _TIMM_NUMBERS * dim
    if not network.vit.rel_pos:
        return kept + HALF * (projected + 1) * dim
    positions = heads * sum(network.reach(index))
    lengthened = 4 * (dim + positions)  # query, key, value and result
    return kept + HALF * ((projected + 1) * dim + positions + lengthened)  # with the scaled query
