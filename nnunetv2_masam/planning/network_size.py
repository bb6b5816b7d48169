"""Sizes that memory and operations of a network depend on, computed from its arguments in the plans."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunetv2_masam.architecture import (
    DEFAULTS,
    EMBEDDING_CHANNELS,
    HIERA,
    WINDOW_SIZE,
    EncoderSize,
    TinyViTSize,
    ViTSize,
    complete_arguments,
    resolve_vit,
)
from nnunetv2_masam.planning.timm_size import HieraSize, TimmSize, hiera_size, timm_size

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Precision:
    """Precision in which a device computes.

    Attributes:
        bytes: of a number in matrix products: 4 without autocast, 2 with.
        fused: whether attention is one fused kernel on lengthened vectors, which is what ours is on GPUs.
    """

    bytes: int
    fused: bool

    @property
    def half(self) -> bool:
        return self.bytes < FLOAT


CPU = Precision(bytes=4, fused=False)
GPU = Precision(bytes=2, fused=True)


@dataclass(frozen=True)
class Architecture:
    """The arguments of the network that cost memory or time, with its defaults."""

    encoder: str
    size: EncoderSize | HieraSize
    timm: TimmSize | None  # of a plain ViT of timm
    image_size: tuple[int, int]
    input_channels: int
    fact_rank: int
    lora_rank: int
    adapter_channels: int | None
    adapter_kernel: int
    decoder_doublings: int
    trainable: str
    checkpointing: bool

    @classmethod
    def of(cls, arch_kwargs: Mapping[str, Any], input_channels: int = 1) -> Architecture:
        """Make it from the arguments in the plans."""
        arguments = complete_arguments(arch_kwargs)
        encoder = arguments["encoder"]
        height, width = arguments["image_size"]
        is_hiera = encoder.startswith(HIERA)
        timm = None if is_hiera or encoder == DEFAULTS.encoder else timm_size(encoder)
        own = hiera_size(encoder, arguments["adapter_channels"]) if is_hiera else resolve_vit(arguments["vit"])
        return cls(
            encoder=encoder,
            size=own if timm is None else timm.vit,
            timm=timm,
            image_size=(height, width),
            input_channels=input_channels,
            fact_rank=arguments["fact_rank"],
            lora_rank=arguments["lora_rank"],
            adapter_channels=arguments["adapter_channels"],
            adapter_kernel=arguments["adapter_kernel"],
            decoder_doublings=arguments["decoder_doublings"],
            trainable=arguments["trainable"],
            checkpointing=arguments["gradient_checkpointing"],
        )

    @property
    def vit(self) -> ViTSize:
        """Sizes of a plain ViT."""
        assert isinstance(self.size, ViTSize)
        return self.size

    @property
    def grid(self) -> tuple[int, int]:
        """G and G', tokens of a slice."""
        height, width = (side // self.size.stride for side in self.image_size)
        return height, width

    def tokens_of(self, stage: int) -> int:
        """T of a slice in a stage of a hierarchical encoder."""
        assert isinstance(self.size, TinyViTSize)
        return math.prod(side // self.size.strides[stage] for side in self.image_size)

    def channels_of_adapters(self, stage: int) -> int:
        """A in a stage of a hierarchical encoder."""
        assert isinstance(self.size, TinyViTSize)
        given = self.adapter_channels
        return self.size.adapter_channels(self.size.widths[stage]) if given is None else given

    @property
    def trains_the_patch_embedding(self) -> bool:
        """Whether its weights start anew, for images of other channels than SAM's."""
        return self.trainable == "masam" and self.input_channels not in (1, 3)

    @property
    def adapters(self) -> int:
        """3D adapters in a block: before attention and MLP in SAM's encoder, before the block in timm's."""
        return 0 if not self.adapter_channels else 2 if self.timm is None else 1

    @property
    def differentiates_the_encoder(self) -> bool:
        """Whether anything in the blocks of the image encoder is trained."""
        if self.trainable == "masam":
            return self.fact_rank > 0 or self.lora_rank > 0 or self.adapter_channels != 0
        return self.trainable == "all"

    @property
    def tokens(self) -> int:
        """T, of a slice."""
        return math.prod(self.grid)

    @property
    def upscaling(self) -> list[tuple[int, int]]:
        """(pixels of a token, channels) after each doubling of the decoder."""
        steps = range(self.decoder_doublings)
        return [(4 ** (step + 1), EMBEDDING_CHANNELS // 4 >> step) for step in steps]

    def reach(self, index: int) -> tuple[int, int]:
        """Grid that the attention of block ``index`` runs over."""
        return self.grid if index in self.vit.global_attn_indexes else (WINDOW_SIZE, WINDOW_SIZE)


@dataclass(frozen=True)
class EncoderBytes:
    """Bytes that the image encoder takes besides its weights.

    Attributes:
        stored: for the backward pass, while the loss is computed.
        backward: beyond that, in the blocks' backward pass: transients, and with gradient checkpointing the block that
            is computed again.
        forward: the largest transient of the forward pass that is not stored.
    """

    stored: int = 0
    backward: int = 0
    forward: int = 0
