"""The whole network: volume → slices → tokens → slices → volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nnunetv2_masam.architecture import (
    DEFAULTS,
    EMBEDDING_CHANNELS,
    HIERA,
    PATCH_SIZE,
    PROMPTS,
    TIMM,
    TRAINABLE,
    AdaptationSize,
    EncoderSize,
    TinyViTSize,
    check_choice,
    check_encoder,
    check_image_size,
    check_input_range,
    check_numbers,
    resolve_doublings,
    resolve_vit,
)
from nnunetv2_masam.network.adaptation import adapter_parameters, adapters_disabled
from nnunetv2_masam.network.autocast import bf16_autocast
from nnunetv2_masam.network.block import KERNELS
from nnunetv2_masam.network.boxes import boxes_of_channel
from nnunetv2_masam.network.decoding import decode_slices
from nnunetv2_masam.network.hiera import HieraEncoder
from nnunetv2_masam.network.image_encoder import ImageEncoder
from nnunetv2_masam.network.mask_decoder import MaskDecoder
from nnunetv2_masam.network.sam_parts import PromptEncoder
from nnunetv2_masam.network.slices import map_range, resize_in_plane, slices_to_volume, volume_to_slices
from nnunetv2_masam.network.timm_encoder import TimmImageEncoder
from nnunetv2_masam.network.tiny_vit import TinyViTEncoder

_SLICES_DECODED_AT_ONCE = 8  # in prediction


class MASAM(nn.Module):
    """MA-SAM (Chen et al., Medical Image Analysis 2024).

    Args:
        input_channels: C. One channel gives exactly what three equal ones give, for a third of the work; three are
            taken as RGB; any other number gets a patch embedding that is trained. With ``prompt="box"`` the last one is
            no image but the box channel, and does not count for that.
        num_classes: K, output channels, background included where there is one.
        encoder: ``sam``, or ``timm:`` and a model of timm, such as ``timm:vit_base_patch16_dinov3`` or
            ``timm:sam2_hiera_tiny``, for which ``vit`` has no meaning.
        vit: name of a preset (:mod:`~nnunetv2_masam.architecture`), or a dict with the fields of
            :class:`~nnunetv2_masam.architecture.ViTSize` or :class:`~nnunetv2_masam.architecture.TinyViTSize`.
        image_size: (S, S'), pixels: the size that slices are resized to. Multiples of the side of a token: 16, or 4
            with ``lite_medsam``; of 32 with SAM 2's Hiera.
        input_range: (low, high), the values of ``x`` that the image encoder gets as 0 and 1; values beyond are clamped.
            None leaves ``x`` as it is, ``auto`` takes what suits the weights that ``vit`` is named for.
        fact_rank, fact_scale, fact_dropout: of :class:`~nnunetv2_masam.network.fact.FacT`; rank 0 leaves it out.
        adapter_channels: channels of the 3D adapters; 0 leaves them out, and slices are seen one by one. None is the
            paper's 384, or in a TinyViT or a Hiera half the width of each block.
        adapter_kernel, adapter_dilation: slices that an adapter's convolution takes together, an odd number, and their
            distance.
        lora_rank: rank of LoRA increments in the place of FacT's, as in SAMed; 0 leaves them out.
        decoder_doublings: times the decoder doubles the token grid. None gives logits at ``image_size``. With tokens of
            16 pixels these are 4; 2, as SAM's own decoder has, gives logits at a quarter of it.
        prompt: ``none`` or ``box``: the last channel marks a box, see :mod:`~nnunetv2_masam.network.boxes`.
        trainable: ``masam`` freezes the weights of SAM in the image encoder, ``decoder`` the image encoder as a whole,
            ``all`` nothing.
        gradient_checkpointing: compute the encoder's blocks and the mask decoder again in the backward pass: less
            memory, more time, the same gradients.
        half_turn: turn every slice by 180° on its way in and the logits back on their way out. The authors' preparation
            gives their network slices that are turned so against the order (H, W) in which nnU-Net reads them.
        deep_supervision: must be False; the argument is there because nnU-Net passes it.

    Raises:
        ValueError: an argument has no meaning; the message names it.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        encoder: str = DEFAULTS.encoder,
        vit: str | Mapping[str, Any] | EncoderSize = DEFAULTS.vit,
        image_size: Sequence[int] = DEFAULTS.image_size,
        input_range: str | Sequence[float] | None = DEFAULTS.input_range,
        fact_rank: int = DEFAULTS.fact_rank,
        fact_scale: float = DEFAULTS.fact_scale,
        fact_dropout: float = DEFAULTS.fact_dropout,
        adapter_channels: int | None = DEFAULTS.adapter_channels,
        adapter_kernel: int = DEFAULTS.adapter_kernel,
        adapter_dilation: int = DEFAULTS.adapter_dilation,
        lora_rank: int = DEFAULTS.lora_rank,
        decoder_doublings: int | None = DEFAULTS.decoder_doublings,
        prompt: str = DEFAULTS.prompt,
        trainable: str = DEFAULTS.trainable,
        gradient_checkpointing: bool = DEFAULTS.gradient_checkpointing,
        half_turn: bool = DEFAULTS.half_turn,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if deep_supervision:
            raise NotImplementedError("deep_supervision: one output only, set enable_deep_supervision = False")
        check_choice("prompt", prompt, PROMPTS)
        check_choice("trainable", trainable, TRAINABLE)
        check_encoder(encoder)
        check_numbers(1, input_channels=input_channels, num_classes=num_classes)
        self.input_channels = input_channels
        self.image_channels = input_channels - (prompt == "box")
        if self.image_channels < 1:
            raise ValueError(
                f"input_channels: got {input_channels}, expected at least 2 with prompt='box', the last a box"
            )
        self.num_classes = num_classes
        self.encoder = encoder
        self.vit = resolve_vit(vit)
        stride = self.vit.stride if encoder == "sam" else PATCH_SIZE
        self.image_size = check_image_size(image_size, stride)
        self.input_range = check_input_range(input_range, self.vit if encoder == "sam" else None)
        self.prompt = prompt
        self.trainable = trainable
        self.gradient_checkpointing = gradient_checkpointing
        self.half_turn = half_turn
        self.bf16_on_cpu = False  # in prediction; only CPUs with AMX or AVX512-BF16 gain by it
        adaptation = AdaptationSize(
            fact_rank=fact_rank,
            fact_scale=fact_scale,
            fact_dropout=fact_dropout,
            adapter_channels=adapter_channels,
            adapter_kernel=adapter_kernel,
            adapter_dilation=adapter_dilation,
            lora_rank=lora_rank,
        )
        if encoder != "sam":
            kind = HieraEncoder if encoder.startswith(HIERA) else TimmImageEncoder
            self.image_encoder: ImageEncoder | TinyViTEncoder | TimmImageEncoder | HieraEncoder = kind(
                encoder.removeprefix(TIMM), self.image_channels, self.image_size, adaptation, gradient_checkpointing
            )
        elif isinstance(self.vit, TinyViTSize):
            self.image_encoder = TinyViTEncoder(self.vit, self.image_channels, adaptation, gradient_checkpointing)
        else:
            self.image_encoder = ImageEncoder(
                self.vit, self.image_channels, self.image_size, adaptation, gradient_checkpointing
            )
        grid = (self.image_size[0] // stride, self.image_size[1] // stride)
        self.prompt_encoder = PromptEncoder(EMBEDDING_CHANNELS, grid, self.image_size, mask_in_chans=16)
        self.mask_decoder = MaskDecoder(num_classes, resolve_doublings(decoder_doublings, stride))
        self._freeze()

    @property
    def kernels(self) -> str:
        """``auto``, ``plain`` or ``fast``; see :mod:`~nnunetv2_masam.network.block`. No part of the plans."""
        return self.image_encoder.kernels

    @kernels.setter
    def kernels(self, kernels: str) -> None:
        check_choice("kernels", kernels, KERNELS)
        self.image_encoder.kernels = kernels

    def adapter_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters of what MA-SAM adds to SAM's image encoder: FacT, LoRA and 3D adapters."""
        return adapter_parameters(self)

    def adapters_disabled(self) -> AbstractContextManager[None]:
        """A context in which the image encoder is SAM's own."""
        return adapters_disabled(self)

    def forward(self, x: Tensor, boxes: Tensor | None = None) -> Tensor:
        """Segment a batch.

        Args:
            x: (B, C, D, H, W) for any D, H and W, or (B, C, H, W), which is D = 1.
            boxes: in place of the box channel, which x then lacks: (B, D, 4) as x0, y0, x1, y1 in pixels of the
                network's input (``image_size``, after a half turn), the first and the last inside. NaN for slices
                without a box, which are segmented as a network without prompts does.

        Returns:
            Logits (B, K, D, H, W), or (B, K, H, W), in float32.
        """
        if x.ndim == 4:
            return self.forward(x[:, :, None], boxes).squeeze(2)
        if boxes is not None and self.prompt != "box":
            raise ValueError("boxes: given to a network that was built without them; build it with prompt='box'")
        channels = self.input_channels if boxes is None else self.image_channels
        if x.ndim != 5 or x.shape[1] != channels:
            raise ValueError(f"x: got shape {tuple(x.shape)}, expected (B, {channels}, D, H, W), or that without D")
        with bf16_autocast(x.device, self.bf16_on_cpu and not torch.is_grad_enabled()):
            return self._segment(x, boxes).float()

    def _segment(self, x: Tensor, boxes: Tensor | None) -> Tensor:
        """(B, C, D, H, W) to logits (B, K, D, H, W), in the precision of the autocast."""
        batch, _, depth, height, width = x.shape
        if self.half_turn:
            x = x.flip(-2, -1)
        if self.prompt == "box" and boxes is None:
            x, boxes = x[:, :-1], boxes_of_channel(x[:, -1], self.image_size)
        if boxes is not None and boxes.shape != (batch, depth, 4):
            raise ValueError(f"boxes: got shape {tuple(boxes.shape)}, expected {(batch, depth, 4)}, one for each slice")
        slices = map_range(volume_to_slices(x, self.image_size), self.input_range)  # (N, C, S, S')
        embedding = self.image_encoder(slices, depth)  # (N, 256, G, G')
        logits = self._decode(embedding, None if boxes is None else boxes.flatten(0, 1), (height, width))
        volume = slices_to_volume(logits, depth)  # (B, K, D, H, W)
        return volume.flip(-2, -1) if self.half_turn else volume

    def _decode(self, embedding: Tensor, boxes: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Embedding (N, 256, G, G') and boxes (N, 4) to logits (N, K, *size), for a size of (H, W)."""
        mask_decoder: Callable[..., Tensor] = self.mask_decoder
        if self.gradient_checkpointing and torch.is_grad_enabled():
            mask_decoder = partial(checkpoint, mask_decoder, use_reentrant=False)
        decode = partial(decode_slices, self.prompt_encoder, mask_decoder)
        if torch.is_grad_enabled():
            return resize_in_plane(decode(embedding, boxes), size, mode="bilinear")
        # decoded slices are the largest tensors of all: a few at a time where none is kept for a backward pass
        logits = embedding.new_empty(len(embedding), self.num_classes, *size, dtype=torch.float32)
        for start in range(0, len(embedding), _SLICES_DECODED_AT_ONCE):
            part = slice(start, start + _SLICES_DECODED_AT_ONCE)
            decoded = decode(embedding[part], None if boxes is None else boxes[part])
            # in float32: torch resizes bfloat16 with antialiasing on no CPU
            logits[part] = resize_in_plane(decoded.float(), size, mode="bilinear")
        return logits

    def _freeze(self) -> None:
        """Leave trainable only what ``trainable`` says, and nothing that no output depends on."""
        # prompts of kinds that are never given: trainable, they would stall distributed training
        for name, parameter in self.prompt_encoder.named_parameters():
            corners = name.startswith(("point_embeddings.2.", "point_embeddings.3."))
            parameter.requires_grad_(name.startswith("no_mask_embed.") or (corners and self.prompt == "box"))
        if self.trainable == "all":
            return
        self.image_encoder.requires_grad_(False)
        if self.trainable == "masam":
            for _, parameter in self.adapter_parameters():
                parameter.requires_grad_(True)
        if self.encoder != "sam":
            self.image_encoder.neck.requires_grad_(True)  # which starts anew
        if self.image_channels not in (1, 3):
            self.image_encoder.patch_embed.requires_grad_(True)
