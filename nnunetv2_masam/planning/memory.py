"""Memory of a training step, by formula: what is kept, what is stored for the backward pass, and the largest transient.

The terms are read off the network's code: for every operation, what its gradient needs. Symbols are those of
``nnunetv2_masam.network``. :func:`step_bytes` is compared with the bytes that a CPU's allocator hands out
(``benchmarks/planner_memory.py``); what a GPU needs beyond those is :func:`gpu_gb`'s to add.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunetv2_masam.architecture import EMBEDDING_CHANNELS, PATCH_SIZE, TinyViTSize, ViTSize
from nnunetv2_masam.planning.hiera_bytes import hiera_bytes
from nnunetv2_masam.planning.network_size import CPU, FLOAT, GPU, Architecture, EncoderBytes, Precision
from nnunetv2_masam.planning.timm_size import HieraSize
from nnunetv2_masam.planning.tiny_vit_bytes import count_by_building, tiny_vit_bytes

__all__ = [
    "CONTEXT_GB",
    "CPU",
    "FLOAT",
    "GB",
    "GPU",
    "Architecture",
    "MicroBatch",
    "count_parameters",
    "gpu_gb",
    "step_bytes",
]

GB = 1024**3

CONTEXT_GB = 0.8  # of a GPU, taken by CUDA's context and by workspaces of its libraries
_FRAGMENTATION = 1.1  # what the caching allocator holds, over what is in use

# For every token, numbers that the gradients of neck and two-way transformer need: in float32, for normalisations, and
# in the precision of the matrix products.
_DECODER_FLOATS = 1356
_DECODER_COMPUTED = 4002
_DECODER_FLOATS_PER_CLASS = 80  # attention between tokens of classes and of the grid


@dataclass(frozen=True)
class MicroBatch:
    """The size of one forward pass.

    Attributes:
        slices: N = B·D.
        patch: H and W, voxels.
        input_channels: C.
        num_classes: K.
    """

    slices: int
    patch: tuple[int, int]
    input_channels: int = 1
    num_classes: int = 2

    @property
    def voxels(self) -> int:
        """Voxels of the patches, all slices together."""
        return self.slices * math.prod(self.patch)


def gpu_gb(arch_kwargs: Mapping[str, Any], batch: MicroBatch) -> float:
    """Memory of a GPU that a training step in mixed precision takes, in GB.

    That is :func:`step_bytes`, a tenth more for what the allocator cannot use, and 0.8 GB for CUDA's context and the
    workspaces of its libraries. The last two are customary values; no GPU was available to measure them on.
    """
    return CONTEXT_GB + _FRAGMENTATION * step_bytes(arch_kwargs, batch, GPU) / GB


def step_bytes(arch_kwargs: Mapping[str, Any], batch: MicroBatch, precision: Precision) -> int:
    """Most bytes in use at once in an optimiser step: forward pass, loss, backward pass, AdamW.

    Weights, gradients and AdamW's moments are there all the time, because gradients accumulate over micro-batches. On
    top, one of four moments has the largest transient: the start of the backward pass (everything is stored, and the
    loss at work), the backward pass of a decoder that is computed again, that of the last block, and the optimiser's
    step.

    Args:
        arch_kwargs: the network's arguments.
        batch: the micro-batch.
        precision: of the device.
    """
    network = Architecture.of(arch_kwargs, batch.input_channels)
    total, trained = count_parameters(network, batch.num_classes, batch.input_channels)
    kept = FLOAT * (total + 3 * trained + batch.voxels * (batch.input_channels + 1))
    tokens = batch.slices * network.tokens
    if isinstance(network.size, TinyViTSize):
        encoder = tiny_vit_bytes(network, batch.slices, precision)
    elif isinstance(network.size, HieraSize):
        encoder = hiera_bytes(network, batch.slices, precision)
    else:
        encoder = _vit_bytes(network, tokens, precision)
    decoder = _decoder_bytes(network, tokens, batch, precision)
    logits = FLOAT * batch.voxels * batch.num_classes
    embedding = FLOAT * tokens * EMBEDDING_CHANNELS
    at_the_loss = encoder.stored + logits + (embedding if network.checkpointing else decoder) + _loss_bytes(batch)
    in_the_decoder = encoder.stored + embedding + decoder + 2 * logits if network.checkpointing else 0
    in_the_blocks = encoder.stored + encoder.backward
    return kept + max(at_the_loss, in_the_decoder, in_the_blocks, encoder.forward, FLOAT * trained)


def _vit_bytes(network: Architecture, tokens: int, precision: Precision) -> EncoderBytes:
    """Of a plain ViT, whose blocks are alike."""
    transient = _block_transient(network, tokens, precision)
    if not network.differentiates_the_encoder:
        return EncoderBytes(backward=transient)
    block = _block_bytes(network, tokens, precision)
    depth = network.vit.depth
    if network.checkpointing:
        return EncoderBytes(depth * FLOAT * tokens * network.vit.embed_dim, block + transient)
    return EncoderBytes(depth * block, transient)


def count_parameters(network: Architecture, num_classes: int, input_channels: int = 1) -> tuple[int, int]:
    """All parameters, and those that are trained, by formula; of a hierarchical encoder by looking at the network."""
    if not isinstance(network.size, ViTSize):
        return count_by_building(network, num_classes, input_channels)
    vit, a, r = network.vit, network.adapter_channels, network.fact_rank
    assert a is not None
    e = vit.embed_dim
    embedding = e * (PATCH_SIZE**2 * input_channels + 1)
    block = 4 * e * e + 2 * e * vit.mlp_width + 9 * e + vit.mlp_width
    neck = EMBEDDING_CHANNELS * (e + 9 * EMBEDDING_CHANNELS)
    encoder = vit.depth * block + e * network.tokens + neck
    if vit.rel_pos:
        encoder += sum(2 * sum(network.reach(i)) * e // vit.num_heads for i in range(vit.depth))
    adapters = network.adapters * (2 * e * a + network.adapter_kernel * a * a + a + 2 * e)
    adaptation = vit.depth * (adapters + 2 * r * r + 4 * e * network.lora_rank) + 2 * r * e
    decoder = 3_400_000 + 133_000 * num_classes
    total = embedding + encoder + adaptation + decoder
    if network.trainable == "all":
        return total, total
    new = 0 if network.timm is None else neck  # timm's encoders have none
    if network.trainable == "decoder":
        return total, decoder + new
    return total, adaptation + decoder + new + (embedding if input_channels not in (1, 3) else 0)


def _block_bytes(network: Architecture, tokens: int, precision: Precision) -> int:
    """What the gradients of one block of the image encoder need, averaged over the blocks."""
    e, a, r, half = network.vit.embed_dim, network.adapter_channels, network.fact_rank, precision.bytes
    floats = 2 * e  # the inputs of both normalisations
    computed = _attention_numbers(network, precision) + network.vit.mlp_width  # and the input of GELU
    if a and network.timm is None:
        floats += 2 * e  # the adapters' inputs, and what their convolutions write
        computed += 2 * a
    elif a:
        floats += e  # a copy of the patch tokens, which is normalised
        computed += e + 3 * a  # inputs of both products, of the convolution and of GELU
    if r:
        computed += 5 * r + e  # reduced inputs and the normalised one
    if network.lora_rank:
        computed += (2 if precision.half else 1) * e + 2 * network.lora_rank
    if network.trainable == "all":  # the inputs of all matrix products
        computed += 2 * e + network.vit.mlp_width
        if precision.half:  # a copy for each product
            computed += (2 if network.lora_rank else 1) * e
        elif not network.lora_rank:
            computed += e
        if precision.fused and network.vit.rel_pos:
            computed += 2 * e  # queries, for the tables of relative positions
        if network.timm is not None and network.timm.layer_scale:
            computed += 2 * e  # what is scaled
    weights = (4 * e * e + 2 * e * network.vit.mlp_width) * half if precision.half else 0  # autocast's copies
    return tokens * (FLOAT * floats + half * computed) + weights


def _attention_numbers(network: Architecture, precision: Precision) -> int:
    """Numbers that the attention of a block stores for a token, averaged over the blocks."""
    vit = network.vit
    head_dim = vit.embed_dim // vit.num_heads
    if network.timm is not None:  # query, key, value and output; rotated queries and keys are two more
        return (4 + 2 * network.timm.rotary) * vit.embed_dim
    if not precision.fused:
        return 3 * vit.embed_dim  # query, key and value
    longer = []
    for index in range(vit.depth):
        reach = network.reach(index)
        padded = any(side % window for side, window in zip(network.grid, reach, strict=True))
        positions = sum(reach) + padded if vit.rel_pos else 0
        longer.append(math.ceil((head_dim + positions) / 8) * 8)
    # query, key, value and output
    return round(4 * vit.num_heads * sum(longer) / vit.depth)


def _block_transient(network: Architecture, tokens: int, precision: Precision) -> int:
    """In the backward pass of a block's MLP: gradients of GELU's output and input, and of the residual stream."""
    return tokens * (network.vit.embed_dim * 2 * FLOAT + 2 * network.vit.mlp_width * precision.bytes)


def _decoder_bytes(network: Architecture, tokens: int, batch: MicroBatch, precision: Precision) -> int:
    """What the gradients of neck and mask decoder need."""
    *normalised, last = (pixels * channels for pixels, channels in network.upscaling)
    floats = _DECODER_FLOATS + 2 * sum(normalised)  # inputs of normalisation and GELU
    computed = _DECODER_COMPUTED + sum(normalised) + 2 * last  # inputs of the next product, and of the last GELU
    per_token = FLOAT * floats + precision.bytes * computed
    per_token += FLOAT * _DECODER_FLOATS_PER_CLASS * batch.num_classes
    weights = 4_500_000 * precision.bytes if precision.half else 0
    return tokens * per_token + weights


def _loss_bytes(batch: MicroBatch) -> int:
    """Softmax, cross-entropy and Dice of nnU-Net's loss: five tensors like the logits. The authors' takes less here."""
    return 5 * FLOAT * batch.voxels * batch.num_classes
