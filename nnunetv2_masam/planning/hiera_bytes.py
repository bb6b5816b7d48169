"""Memory of SAM 2's Hiera: what timm's blocks and the adapters before them keep for their gradients."""

from __future__ import annotations

import math

from nnunetv2_masam.architecture import EMBEDDING_CHANNELS, MLP_RATIO
from nnunetv2_masam.planning.network_size import FLOAT, Architecture, EncoderBytes, Precision
from nnunetv2_masam.planning.timm_size import HieraBlock, HieraSize
from nnunetv2_masam.planning.tiny_vit_bytes import NECK_TENSORS

_SLICE_BYTES = 38  # for every token and channel, in a block's attention in prediction


def hiera_bytes(network: Architecture, slices: int, precision: Precision) -> EncoderBytes:
    """Bytes that N = ``slices`` slices take; see :class:`~nnunetv2_masam.planning.network_size.EncoderBytes`."""
    assert isinstance(network.size, HieraSize)
    if not network.differentiates_the_encoder:
        return EncoderBytes(forward=slices * hiera_slice_bytes(network))
    stored = peak = 0
    for block in network.size.blocks:
        tokens = slices * _tokens(network, block.stride)
        needed = _block_bytes(network, block, slices, precision)
        stored += FLOAT * tokens * block.width if network.checkpointing else needed
        # gradients of the MLP, and, computed again, what the block stores; later blocks are done with by then
        transient = tokens // block.pooling**2 * block.out * (2 * FLOAT + 2 * MLP_RATIO * precision.bytes)
        peak = max(peak, stored + transient + (needed if network.checkpointing else 0))
    return EncoderBytes(stored, max(0, peak - stored))


def hiera_slice_bytes(network: Architecture) -> int:
    """Most bytes of a slice in prediction: in a block's attention, or in the neck."""
    assert isinstance(network.size, HieraSize)
    blocks = network.size.blocks
    attention = (_tokens(network, b.stride, b.window) * b.width * _SLICE_BYTES for b in blocks)
    return max(*attention, FLOAT * network.tokens * (blocks[-1].out + NECK_TENSORS * EMBEDDING_CHANNELS))


def _tokens(network: Architecture, stride: int, window: int = 0) -> int:
    """Of a slice, of ``stride`` pixels each; with those that fill its windows."""
    sides = (side // stride for side in network.image_size)
    return math.prod(math.ceil(side / window) * window if window else side for side in sides)


def _block_bytes(network: Architecture, block: HieraBlock, slices: int, precision: Precision) -> int:
    """What the gradients of a block and of the adapter before it need."""
    e, out, r = block.width, block.out, network.fact_rank
    tokens, windows = (slices * _tokens(network, block.stride, window) for window in (0, block.window))
    pooled, windows_pooled = tokens // block.pooling**2, windows // block.pooling**2
    floats = tokens * e + pooled * out  # the inputs of both normalisations
    computed = windows * 3 * out + windows_pooled * out + pooled * MLP_RATIO * out  # of attention, and GELU's input
    pools = block.pooling > 1
    computed += pools * (windows_pooled + tokens) * out  # the pooled query, and what is pooled beside the attention
    indices = 8 * pools * (windows_pooled + pooled) * out  # where the maxima were
    if block.adapter:
        floats += tokens * e
        computed += tokens * block.adapter  # what its convolution writes
    if r:
        computed += windows * (e + 5 * r)  # the normalised input and reduced ones
    if network.lora_rank:
        computed += windows * ((2 if precision.half else 1) * e + 2 * network.lora_rank)
    if network.trainable == "all":  # the inputs of products
        computed += windows * e + windows_pooled * out + pooled * (1 + MLP_RATIO) * out
    weights = (3 * e + (1 + 2 * MLP_RATIO) * out) * out * precision.bytes * precision.half  # autocast's copies
    return FLOAT * floats + precision.bytes * computed + indices + weights
