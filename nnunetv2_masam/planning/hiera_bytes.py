"""Memory of SAM 2's Hiera: what timm's blocks and the adapters before them keep for their gradients."""

from __future__ import annotations

import math

from nnunetv2_masam.architecture import EMBEDDING_CHANNELS, MLP_RATIO
from nnunetv2_masam.planning.network_size import FLOAT, Architecture, EncoderBytes, Precision
from nnunetv2_masam.planning.timm_size import HieraBlock, HieraSize
from nnunetv2_masam.planning.tiny_vit_bytes import NECK_TENSORS

__all__ = ["HieraSize", "hiera_bytes", "hiera_slice_bytes"]

_HALF = 2  # bytes
_INDEX = 8  # bytes, of a maximum's place
_NUMBERS = 17  # for every token and channel, in 16 bits, in a block's attention in prediction


def hiera_bytes(network: Architecture, slices: int, precision: Precision) -> EncoderBytes:
    """Bytes that N = ``slices`` slices take; see :class:`~nnunetv2_masam.planning.network_size.EncoderBytes`."""
    assert isinstance(network.size, HieraSize)
    if not network.differentiates_the_encoder:
        return EncoderBytes(forward=slices * hiera_slice_bytes(network))
    stored = peak = 0
    for block in network.size.blocks:
        tokens = slices * _tokens(network, block.stride)
        after = tokens // block.pooling**2
        needed = _block_bytes(network, block, slices, precision)
        stored += FLOAT * tokens * block.width if network.checkpointing else needed
        # gradients of the MLP, and, computed again, what the block stores; later blocks are done with by then
        transient = after * block.out * (2 * FLOAT + 2 * MLP_RATIO * precision.bytes)
        peak = max(peak, stored + transient + (needed if network.checkpointing else 0))
    return EncoderBytes(stored, max(0, peak - stored))


def hiera_slice_bytes(network: Architecture) -> int:
    """Most bytes of a slice in prediction: in a block's attention, or in the neck."""
    assert isinstance(network.size, HieraSize)
    numbers = [
        _tokens(network, block.stride, block.window) * block.width * (2 * FLOAT + _HALF * _NUMBERS)
        for block in network.size.blocks
    ]
    return max(*numbers, FLOAT * network.tokens * (network.size.blocks[-1].out + NECK_TENSORS * EMBEDDING_CHANNELS))


def _tokens(network: Architecture, stride: int, window: int = 0) -> int:
    """Of a slice, of ``stride`` pixels each; with those that fill its windows."""
    sides = (side // stride for side in network.image_size)
    return math.prod(math.ceil(side / window) * window if window else side for side in sides)


def _block_bytes(network: Architecture, block: HieraBlock, slices: int, precision: Precision) -> int:
    """What the gradients of a block and of the adapter before it need."""
    e, out, r, a = block.width, block.out, network.fact_rank, block.adapter
    tokens = slices * _tokens(network, block.stride)
    windows = slices * _tokens(network, block.stride, block.window)
    pooled, windows_pooled = tokens // block.pooling**2, windows // block.pooling**2
    floats = tokens * e + pooled * out  # the inputs of both normalisations
    computed = windows * 3 * out + windows_pooled * out  # query, key, value and output
    computed += pooled * MLP_RATIO * out  # the input of GELU
    indices = 0
    if block.pooling > 1:
        computed += windows_pooled * out + tokens * out  # the pooled query, and what is pooled beside the attention
        indices = (windows_pooled + pooled) * out
    if a:
        floats += tokens * e
        computed += tokens * a  # what its convolution writes
    if r:
        computed += windows * (e + 5 * r)  # the normalised input and reduced ones
    if network.lora_rank:
        computed += windows * ((2 if precision.half else 1) * e + 2 * network.lora_rank)
    if network.trainable == "all":  # the inputs of products
        computed += windows * e + windows_pooled * out + pooled * (1 + MLP_RATIO) * out
    products = 3 * e * out + out * out + 2 * MLP_RATIO * out * out
    weights = products * precision.bytes if precision.half else 0  # autocast's copies
    return FLOAT * floats + precision.bytes * computed + _INDEX * indices + weights
