"""Arithmetic operations of the network, by formula: what plans are compared by before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2_masam.network.presets import EMBEDDING_CHANNELS, PATCH_SIZE
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
    tokens, e, d = network.tokens, network.vit.embed_dim, EMBEDDING_CHANNELS
    embedding = tokens * e * PATCH_SIZE**2 * input_channels
    blocks = sum(_block(network, index) for index in range(network.vit.depth))
    neck = tokens * (e * d + 9 * d * d)
    return 2 * slices * (embedding + blocks + neck + _decoder(network, num_classes))


def training_flops(arch_kwargs: Mapping[str, Any], slices: int, num_classes: int, input_channels: int = 1) -> int:
    """The same for a forward and a backward pass, with what gradient checkpointing computes again.

    A backward pass is as much work as the forward pass through frozen weights and twice as much through trained ones.
    The few that MA-SAM trains are counted as frozen, and so is the decoder where nothing else is trained.
    """
    network = Architecture.of(arch_kwargs)
    if network.trainable == "decoder":
        passes = 1  # of the image encoder, which is nearly all
    else:
        passes = (3 if network.trainable == "all" else 2) + network.checkpointing
    return passes * forward_flops(arch_kwargs, slices, num_classes, input_channels)


def _block(network: Architecture, index: int) -> int:
    """Multiplications of a block for one slice."""
    e, a, r = network.vit.embed_dim, network.adapter_channels, network.fact_rank
    projections = 4 * e * e + 2 * e * network.vit.mlp_width
    adapters = network.adapters * (2 * e * a + network.adapter_kernel * a * a)
    low_rank = 3 * e * r + 2 * r * r + 4 * e * network.lora_rank
    return network.tokens * (projections + adapters + low_rank) + _attention(network, network.reach(index))


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
