"""The whole network: volume → slices → tokens → slices → volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_masam.network.autocast import bf16_autocast
from nnunetv2_masam.network.image_encoder import ImageEncoder
from nnunetv2_masam.network.mask_decoder import MaskDecoder
from nnunetv2_masam.network.presets import EMBEDDING_CHANNELS, PATCH_SIZE, ViTSize, resolve_vit
from nnunetv2_masam.network.sam_parts import PromptEncoder
from nnunetv2_masam.network.slices import slices_to_volume, volume_to_slices

PROMPTS = ("none", "box")
TRAINABLE = ("masam", "decoder", "all")


class MASAM(nn.Module):
    """MA-SAM (Chen et al., Medical Image Analysis 2024).

    Args:
        input_channels: C. One channel gives exactly what three equal ones give, for a third of the work; three are
            taken as RGB; any other number gets a patch embedding that is trained.
        num_classes: K, output channels, background included where there is one.
        vit: a preset's name (``vit_t``, ``vit_b``, ``vit_l``, ``vit_h``) or a dict with ``embed_dim``, ``depth``,
            ``num_heads`` and ``global_attn_indexes``.
        image_size: (S, S'), pixels: the size that slices are resized to. Multiples of 16.
        fact_rank: rank of the FacT increments; 0 leaves them out.
        fact_scale: factor of the FacT increments.
        fact_dropout: dropout inside the FacT increments, in training.
        adapter_channels: channels of the 3D adapters; 0 leaves them out, and slices are seen one by one.
        lora_rank: rank of LoRA increments in the place of FacT's, as in SAMed; 0 leaves them out.
        decoder_doublings: times the decoder doubles the token grid. 4 gives logits at ``image_size``, 2, as SAM's own
            decoder has, at a quarter of it.
        prompt: ``none`` or ``box``.
        trainable: ``masam`` freezes what SAM brings to the image encoder, ``decoder`` the image encoder as a whole,
            ``all`` nothing.
        gradient_checkpointing: a block of the image encoder is computed again in the backward pass: less memory,
            more time, the same gradients.
        half_turn: turn every slice by 180° on its way in and the logits back on their way out. The authors' preparation
            gives their network slices that are turned so against the order (H, W) in which nnU-Net reads them.
        deep_supervision: must be False; the argument is there because nnU-Net passes it.

    Raises:
        ValueError: an argument has no meaning; the message names it.
        NotImplementedError: deep supervision is asked for.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        vit: str | Mapping[str, Any] | ViTSize = "vit_b",
        image_size: Sequence[int] = (512, 512),
        fact_rank: int = 32,
        fact_scale: float = 1.0,
        fact_dropout: float = 0.1,
        adapter_channels: int = 384,
        lora_rank: int = 0,
        decoder_doublings: int = 4,
        prompt: str = "none",
        trainable: str = "masam",
        gradient_checkpointing: bool = False,
        half_turn: bool = False,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if deep_supervision:
            raise NotImplementedError(
                "deep_supervision: the decoder has one output; a trainer must set enable_deep_supervision = False"
            )
        self.image_size = _checked_image_size(image_size)
        _check_choice("prompt", prompt, PROMPTS)
        _check_choice("trainable", trainable, TRAINABLE)
        for name, value in (("input_channels", input_channels), ("num_classes", num_classes)):
            if value < 1:
                raise ValueError(f"{name}: got {value}, expected at least 1")
        ranks = (("fact_rank", fact_rank), ("adapter_channels", adapter_channels), ("lora_rank", lora_rank))
        for name, value in ranks:
            if value < 0:
                raise ValueError(f"{name}: got {value}, expected 0 (left out) or more")
        self.input_channels = input_channels
        self.num_classes = num_classes
        self.vit = resolve_vit(vit)
        self.prompt = prompt
        self.trainable = trainable
        self.half_turn = half_turn
        grid = (self.image_size[0] // PATCH_SIZE, self.image_size[1] // PATCH_SIZE)
        self.image_encoder = ImageEncoder(
            input_channels,
            self.vit,
            self.image_size,
            fact_rank=fact_rank,
            fact_scale=fact_scale,
            fact_dropout=fact_dropout,
            adapter_channels=adapter_channels,
            lora_rank=lora_rank,
            gradient_checkpointing=gradient_checkpointing,
        )
        self.prompt_encoder = PromptEncoder(
            embed_dim=EMBEDDING_CHANNELS,
            image_embedding_size=grid,
            input_image_size=self.image_size,
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(num_classes, decoder_doublings)
        self._freeze()

    def forward(self, x: Tensor, boxes: Tensor | None = None) -> Tensor:
        """Segment a batch.

        Args:
            x: (B, C, D, H, W) for any D, H and W, or (B, C, H, W), which is D = 1.
            boxes: (B, D, 4) as x0, y0, x1, y1 in pixels of the network's input (``image_size``, after a half turn), for
                a network with ``prompt="box"``. Without boxes, such a network segments without prompts.

        Returns:
            Logits (B, K, D, H, W), or (B, K, H, W), in float32.

        Raises:
            ValueError: shapes do not fit the network.
        """
        if x.ndim == 4:
            return self.forward(x[:, :, None], boxes).squeeze(2)
        if x.ndim != 5 or x.shape[1] != self.input_channels:
            raise ValueError(
                f"x: got shape {tuple(x.shape)}, expected (B, {self.input_channels}, D, H, W) "
                f"or (B, {self.input_channels}, H, W)"
            )
        with bf16_autocast(x.device):
            return self._segment(x, boxes).float()

    def _segment(self, x: Tensor, boxes: Tensor | None) -> Tensor:
        batch, _, depth, height, width = x.shape
        if self.half_turn:
            x = x.flip(-2, -1)
        embedding = self.image_encoder(volume_to_slices(x, self.image_size), depth)  # (N, 256, G, G')
        sparse, dense, position = self._embed_prompts(boxes, (batch, depth))
        logits = self.mask_decoder(embedding, position, sparse, dense)  # (N, K, S, S')
        volume = slices_to_volume(logits, depth, (height, width))  # (B, K, D, H, W)
        return volume.flip(-2, -1) if self.half_turn else volume

    def _embed_prompts(self, boxes: Tensor | None, stacks: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Sparse (N or 1, prompts, 256) and dense (N or 1, 256, G, G') embeddings, and the grid's positions."""
        if boxes is not None:
            if self.prompt != "box":
                raise ValueError("boxes: given to a network that was built without them; build it with prompt='box'")
            if boxes.shape != (*stacks, 4):
                raise ValueError(
                    f"boxes: got shape {tuple(boxes.shape)}, expected {(*stacks, 4)}: x0, y0, x1, y1 for each slice"
                )
            boxes = boxes.flatten(0, 1)  # (N, 4)
        # sines of random frequencies lose too much in half precision
        with torch.autocast(self.prompt_encoder._get_device().type, enabled=False):
            sparse, dense = self.prompt_encoder(points=None, boxes=boxes, masks=None)
            position = self.prompt_encoder.get_dense_pe()
        return sparse, dense, position

    def _freeze(self) -> None:
        """Leave trainable only what ``trainable`` says, and nothing that no output depends on."""
        # prompts of kinds that are never given: trainable, they would stall distributed training
        for name, parameter in self.prompt_encoder.named_parameters():
            corners = name.startswith(("point_embeddings.2.", "point_embeddings.3."))
            parameter.requires_grad_(name.startswith("no_mask_embed.") or (corners and self.prompt == "box"))
        if self.trainable == "all":
            return
        for name, parameter in self.image_encoder.named_parameters():
            parameter.requires_grad_(self.trainable == "masam" and is_adaptation(name))
        if self.input_channels not in (1, 3):
            self.image_encoder.patch_embed.requires_grad_(True)


def is_adaptation(name: str) -> bool:
    """Whether a parameter of the image encoder is one of those that are added to SAM's."""
    return any(part.startswith(("fact", "lora", "adapter_")) for part in name.split("."))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}")


def _checked_image_size(image_size: Sequence[int]) -> tuple[int, int]:
    size = tuple(int(side) for side in image_size)
    if len(size) != 2 or any(side < PATCH_SIZE or side % PATCH_SIZE for side in size):
        raise ValueError(
            f"image_size: got {tuple(image_size)}, expected two multiples of {PATCH_SIZE} pixels, the side of a token"
        )
    return size[0], size[1]
