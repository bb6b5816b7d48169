"""Memory of the hierarchical image encoder: what each part of ``network/tiny_vit.py`` keeps for its gradients.

A convolution keeps its input even where its weights are frozen.
"""

from __future__ import annotations

import math
from functools import lru_cache

from nnunetv2_masam.architecture import DEFAULTS, EMBEDDING_CHANNELS, MLP_RATIO, TinyViTSize
from nnunetv2_masam.planning.network_size import FLOAT, Architecture, EncoderBytes, Precision

NECK_TENSORS = 4  # of the embedding's size, in its normalisation
_ATTENTION_TENSORS = 10  # of a block's size: input, projections, increments, windows, result
_EXPANSION = 4  # of the channels within a block of the first stage
_PIXELS_AT_ONCE = 2**14  # of slices that a frozen first stage computes together


def tiny_vit_bytes(network: Architecture, slices: int, precision: Precision) -> EncoderBytes:
    """Bytes that N = ``slices`` slices take; see :class:`~nnunetv2_masam.planning.network_size.EncoderBytes`."""
    size = network.size
    assert isinstance(size, TinyViTSize)
    everything = network.trainable == "all"
    slice_pixels = math.prod(network.image_size)
    pixels = slices * slice_pixels
    stored = forward = peak = 0
    if everything or network.trains_the_patch_embedding:
        stored = precision.bytes * _first_stage_numbers(size) * pixels
    else:
        together = min(pixels, max(1, _PIXELS_AT_ONCE // slice_pixels) * slice_pixels)
        numbers = (3 * _EXPANSION + 2) * size.widths[0] / size.patch_stride**2  # of a block, around its convolution
        forward = round(precision.bytes * numbers * together)
    if not network.differentiates_the_encoder:
        return EncoderBytes(forward=max(forward, slices * tiny_vit_slice_bytes(network)))
    for stage in range(1, len(size.widths)):
        tokens = slices * network.tokens_of(stage)
        block = _block_bytes(network, size, stage, tokens, precision)
        inputs = precision.bytes * tokens * size.widths[stage]
        stored += size.depths[stage] * (inputs if network.checkpointing else block)
        # the MLP's gradients, and, computed again, what the block stores; later stages are done with by then
        transient = tokens * size.widths[stage] * (2 * FLOAT + 2 * MLP_RATIO * precision.bytes)
        peak = max(peak, stored + transient + (block if network.checkpointing else 0))
        stored += precision.bytes * _merging_numbers(size, stage, everything) * tokens
    return EncoderBytes(stored, max(0, peak - stored), forward)


def tiny_vit_slice_bytes(network: Architecture) -> int:
    """Most bytes of a slice in prediction in float32: in a block's attention, or in the neck."""
    size = network.size
    assert isinstance(size, TinyViTSize)
    numbers = [network.tokens * (size.widths[-1] + NECK_TENSORS * EMBEDDING_CHANNELS)]
    for stage in range(1, len(size.widths)):
        numbers.append(network.tokens_of(stage) * size.widths[stage] * _ATTENTION_TENSORS)
    return FLOAT * max(numbers)


@lru_cache(maxsize=16)
def count_by_building(network: Architecture, num_classes: int, input_channels: int) -> tuple[int, int]:
    """All parameters of the network, and those that are trained; torch is imported here only."""
    import torch

    from nnunetv2_masam.network import MASAM

    names = ("fact_rank", "lora_rank", "adapter_channels", "adapter_kernel", "decoder_doublings", "trainable")
    arguments = {name: getattr(network, name) for name in ("encoder", *names)}
    arguments["vit"] = network.size if isinstance(network.size, TinyViTSize) else DEFAULTS.vit
    with torch.device("meta"):
        built = MASAM(input_channels, num_classes, image_size=network.image_size, **arguments)
    parameters = list(built.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def _first_stage_numbers(size: TinyViTSize) -> int:
    """Of a pixel, where gradients pass through: inputs of convolutions, of normalisations and of GELU."""
    width = size.widths[0]
    block = 3 * width + 6 * _EXPANSION * width
    embedding = 3 * (width // 2) + width
    if size.patch_stride > 1:
        embedding *= 4  # half of it before the second step
    per_token = size.depths[0] * block + _merging_numbers(size, 0, everything=True)
    return round((per_token + embedding) / size.patch_stride**2)


def _merging_numbers(size: TinyViTSize, stage: int, everything: bool) -> int:
    """Of a token of ``stage``, in the step to the next one: inputs of GELU and of convolutions, and of what is trained.

    The next stage may have a quarter of the tokens.
    """
    if stage == len(size.widths) - 1:
        return 0
    before = size.widths[stage] + (3 if everything else 2) * size.widths[stage + 1]
    after = (4 if everything else 2) * size.widths[stage + 1]
    return round(before + after / size.merge_strides[stage] ** 2)


def _block_bytes(network: Architecture, size: TinyViTSize, stage: int, tokens: int, precision: Precision) -> int:
    """What the gradients of a block of ``stage`` need."""
    e, r, a = size.widths[stage], network.fact_rank, network.channels_of_adapters(stage)
    floats = 2 * e  # the inputs of both normalisations
    computed = 4 * e + size.num_heads[stage - 1]  # query, key, value, output and its denominator
    computed += (1 + MLP_RATIO) * e  # the inputs of the convolution and of GELU
    if a:
        floats += 2 * e  # the inputs of the adapters' normalisations
        computed += 2 * (e + 3 * a)  # inputs of their products, convolution and GELU
    if r:
        computed += e + 4 * r  # the normalised input and reduced ones
    if network.lora_rank:
        computed += e + 2 * network.lora_rank
    if network.trainable == "all":
        computed += 2 * e + MLP_RATIO * e  # inputs of products
        computed += e  # of the normalisation after the convolution
        computed += 0 if r or network.lora_rank else e
        computed += size.num_heads[stage - 1] * size.windows[stage - 1] ** 2  # attention, for the biases' gradient
    weights = (4 * e * e + 2 * MLP_RATIO * e * e) * precision.bytes if precision.half else 0  # autocast's copies
    return tokens * (FLOAT * floats + precision.bytes * computed) + weights
