"""Arithmetic operations of the network, by formula, before anything runs.

``plan --explain`` compares plans by those of a training step; benchmarks also report those of a forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2_masam.architecture import EMBEDDING_CHANNELS, PATCH_SIZE
from nnunetv2_masam.planning.memory import Architecture

_DECODER_MLP = 2048  # channels between the two layers of the two-way transformer's MLP


def forward_flops(arch_kwargs: Mapping[str, Any], slices: int, num_classes: int, input_channels: int = 1) -> int:
    """Operations (a multiplication and an addition are two) of the matrix products of a sample's forward pass.

    Args:
        arch_kwargs: the network's arguments.
        slices: D.
        num_classes: K.
        input_channels: C.
    """
    network = Architecture.of(arch_kwargs)
    return 2 * slices * (_encoder(network, input_channels) + _neck(network) + _decoder(network, num_classes))


def training_flops(arch_kwargs: Mapping[str, Any], slices: int, num_classes: int, input_channels: int = 1) -> int:
    """The same for a forward and a backward pass, with what gradient checkpointing computes again.

    A backward pass is as much work as the forward pass, and again as much for weights that are trained; it ends where
    all that comes before is frozen.
    """
    network = Architecture.of(arch_kwargs)
    encoder, neck, decoder = _encoder(network, input_channels), _neck(network), _decoder(network, num_classes)
    forward = encoder + neck + decoder
    trained_neck = neck if network.trains_the_neck else 0
    if not network.differentiates_the_encoder:
        again = 2 * decoder + trained_neck
    elif network.trainable == "all":
        again = 2 * forward
    else:
        again = forward + sum(_adaptations(network)) + _recomputed(network) + trained_neck + decoder
    if network.checkpointing and network.differentiates_the_encoder:
        again += forward
    return 2 * slices * (forward + again)


def _encoder(network: Architecture, input_channels: int) -> int:
    """Multiplications of the image encoder without its neck for one slice."""
    e = network.vit.embed_dim
    embedding = network.tokens * e * PATCH_SIZE**2 * input_channels
    projections = network.vit.depth * network.tokens * (4 * e * e + 2 * e * network.vit.mlp_width)
    attention = sum(_attention(network, network.reach(index)) for index in range(network.vit.depth))
    return embedding + projections + attention + sum(_adaptations(network))


def _adaptations(network: Architecture) -> tuple[int, int]:
    """Of the adapters, and of FacT or LoRA, in all blocks."""
    e, a, r = network.vit.embed_dim, network.adapter_channels, network.fact_rank
    adapters = network.adapters * (2 * e * a + network.adapter_kernel * a * a)
    low_rank = 3 * e * r + 2 * r * r + 4 * e * network.lora_rank
    everywhere = network.vit.depth * network.tokens
    return everywhere * adapters, everywhere * low_rank


def _recomputed(network: Architecture) -> int:
    """Of the adapters' first layer, which are computed again in the backward pass."""
    first = 0 if network.timm is not None else network.adapters * network.vit.embed_dim * network.adapter_channels
    return network.vit.depth * network.tokens * first


def _neck(network: Architecture) -> int:
    e, d = network.vit.embed_dim, EMBEDDING_CHANNELS
    return network.tokens * (e * d + 9 * d * d)


def _attention(network: Architecture, reach: tuple[int, int]) -> int:
    """Scores, relative positions and the sum over values. A tile at the border has one more key for all its padding."""
    e = network.vit.embed_dim
    products = 0
    for height, rows in _tiles(network.grid[0], reach[0]):
        for width, columns in _tiles(network.grid[1], reach[1]):
            tokens = height * width
            keys = tokens + ((height, width) != reach)
            positions = sum(reach) if network.vit.rel_pos else 0
            products += rows * columns * tokens * e * (2 * keys + positions)
    return products


def _tiles(size: int, window: int) -> list[tuple[int, int]]:
    """(extent, how many) of the tiles along an axis: whole windows and what remains."""
    return [(extent, count) for extent, count in ((window, size // window), (size % window, 1)) if extent and count]


def _decoder(network: Architecture, num_classes: int) -> int:
    """Two-way transformer, upscaling and hypernetworks for one slice; products of tokens alone are left out."""
    d, tokens = EMBEDDING_CHANNELS, network.tokens
    queries = 1 + num_classes
    inner = d // 2
    to_image = tokens * 2 * d * inner + 2 * queries * tokens * inner  # the image as key and value
    from_image = tokens * 2 * d * inner + 2 * queries * tokens * inner  # the image as query
    transformer = 2 * (to_image + from_image) + to_image
    transformer += 2 * queries * (4 * d * d + 2 * d * _DECODER_MLP)
    products, channels = 0, d
    for pixels, narrower in network.upscaling:
        products += tokens * pixels * channels * narrower
        channels = narrower
    return transformer + products + tokens * pixels * num_classes * channels
