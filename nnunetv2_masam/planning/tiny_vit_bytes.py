"""Memory of the hierarchical image encoder, read off ``network/tiny_vit.py``: what each part stores for its gradients."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from nnunetv2_masam.architecture import MLP_RATIO, TinyViTSize

if TYPE_CHECKING:
    from nnunetv2_masam.planning.memory import Architecture, EncoderBytes, Precision

FLOAT = 4  # bytes
_EXPANSION = 4  # of the channels within a block of the first stage
_PIXELS_AT_ONCE = 2**17  # that a frozen first stage computes together


def tiny_vit_bytes(network: Architecture, slices: int, precision: Precision) -> EncoderBytes:
    """What N = ``slices`` slices take; see :class:`~nnunetv2_masam.planning.memory.EncoderBytes`."""
    from nnunetv2_masam.planning.memory import EncoderBytes

    size = network.size
    assert isinstance(size, TinyViTSize)
    everything = network.trainable == "all"
    pixels = slices * math.prod(network.image_size)
    first = _first_stage_numbers(size, everything) * pixels
    if not (everything or network.trains_the_patch_embedding):
        together = min(pixels, max(_PIXELS_AT_ONCE, math.prod(network.image_size)))
        numbers = 2 * _EXPANSION * size.widths[0] / size.patch_stride**2
        first, transient = 0, round(precision.bytes * numbers * together)
    else:
        transient = 0
    if not network.differentiates_the_encoder:
        return EncoderBytes(forward=transient)
    stored, largest = precision.bytes * first, 0
    for stage in range(1, len(size.widths)):
        tokens = slices * network.tokens_of(stage)
        block = _block_bytes(network, size, stage, tokens, precision)
        inputs = precision.bytes * tokens * size.widths[stage]
        stored += size.depths[stage] * (inputs if network.checkpointing else block)
        stored += precision.bytes * _merging_numbers(size, stage, everything) * tokens
        largest = max(largest, block)
    last = slices * network.tokens * size.widths[-1]
    backward = last * (2 * FLOAT + 2 * MLP_RATIO * precision.bytes)
    return EncoderBytes(stored, largest if network.checkpointing else 0, backward, transient)


@lru_cache(maxsize=16)
def count_tiny_vit(network: Architecture, num_classes: int, input_channels: int) -> tuple[int, int]:
    """All parameters of the network, and those that are trained; torch is imported here only."""
    import torch

    from nnunetv2_masam.network import MASAM

    names = ("fact_rank", "lora_rank", "adapter_channels", "adapter_kernel", "decoder_doublings", "trainable")
    arguments = {name: getattr(network, name) for name in names}
    with torch.device("meta"):
        built = MASAM(input_channels, num_classes, vit=network.size, image_size=network.image_size, **arguments)
    parameters = list(built.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def _first_stage_numbers(size: TinyViTSize, everything: bool) -> int:
    """Of a pixel: inputs of GELU, and, where everything is trained, of convolutions and normalisations."""
    width = size.widths[0]
    inner = _EXPANSION * width
    block = 2 * inner + width  # inputs of GELU
    embedding = width // 2
    merging = size.widths[1]
    if everything:
        block += width + 4 * inner + width  # inputs of convolutions and of normalisations
        embedding += size.widths[0] // 2 * 2 + width
        merging += width + 2 * size.widths[1]
    per_token = size.depths[0] * block + merging + _after_the_merging(size, 0, everything)
    return round((per_token + (embedding if size.patch_stride == 1 else 4 * embedding)) / size.patch_stride**2)


def _merging_numbers(size: TinyViTSize, stage: int, everything: bool) -> int:
    """Of a token of ``stage``, in the step to the next one."""
    if stage == len(size.widths) - 1:
        return 0
    before = size.widths[stage + 1]
    if everything:
        before += size.widths[stage] + 2 * size.widths[stage + 1]
    return before + _after_the_merging(size, stage, everything)


def _after_the_merging(size: TinyViTSize, stage: int, everything: bool) -> int:
    """The part of that with the next stage's tokens, of which there may be a quarter."""
    numbers = size.widths[stage + 1] * (4 if everything else 1)
    return round(numbers / size.merge_strides[stage] ** 2)


def _block_bytes(network: Architecture, size: TinyViTSize, stage: int, tokens: int, precision: Precision) -> int:
    """What the gradients of a block of ``stage`` need."""
    e, r, a = size.widths[stage], network.fact_rank, network.channels_of_adapters(stage)
    floats = 2 * e  # the inputs of both normalisations
    computed = 4 * e + size.num_heads[stage - 1]  # query, key, value, output and its denominator
    computed += MLP_RATIO * e  # the input of GELU
    if a:
        floats += 2 * e  # the inputs of the adapters' normalisations
        computed += 2 * (e + 3 * a)  # inputs of their products, convolution and GELU
    if r:
        computed += e + 4 * r  # the normalised input and reduced ones
    if network.lora_rank:
        computed += e + 2 * network.lora_rank
    if network.trainable == "all":
        computed += 2 * e + MLP_RATIO * e  # inputs of products
        computed += 2 * e  # of the convolution and its normalisation
        computed += 0 if r or network.lora_rank else e
        computed += size.num_heads[stage - 1] * size.windows[stage - 1] ** 2  # attention, for the biases' gradient
    weights = (4 * e * e + 2 * MLP_RATIO * e * e) * precision.bytes if precision.half else 0  # autocast's copies
    return tokens * (FLOAT * floats + precision.bytes * computed) + weights
