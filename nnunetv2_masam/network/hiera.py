"""SAM 2's image encoder, Hiera, as timm builds it, with FacT in the attention and a 3D adapter before every block.

Tokens start at 4 pixels and double their side three times, each time in a block that also doubles the width. FacT's U
and V are shared by width: such a block takes the U of its input's and the V of its output's. The neck merges the last
two stages, as SAM 2's does for its image embedding. Neck and decoder start anew.

Source: Ryali et al., Hiera (ICML 2023); Ravi et al., SAM 2 (2024); MA-SAM, section 3, for the adaptation.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nnunetv2_masam.architecture import HIERA_STEP, AdaptationSize
from nnunetv2_masam.network.adapter3d import Adapter3d
from nnunetv2_masam.network.block import choose_computation
from nnunetv2_masam.network.fact import FacT, FacTBetween
from nnunetv2_masam.network.neck import Neck
from nnunetv2_masam.network.timm_encoder import AdaptedQKV, import_timm


class HieraEncoder(nn.Module):
    """Slices to image embeddings.

    Arguments, attributes and errors are those of :class:`~nnunetv2_masam.network.timm_encoder.TimmImageEncoder`. Sides
    of images are multiples of 32; at multiples of 224 no window is padded. Adapters have half the width of their block
    where their channels are left open.
    """

    def __init__(
        self,
        name: str,
        input_channels: int,
        image_size: tuple[int, int],
        added: AdaptationSize,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if any(side % HIERA_STEP for side in image_size):
            raise ValueError(f"image_size: got {image_size}, expected two multiples of {HIERA_STEP} for {name}")
        self.gradient_checkpointing = gradient_checkpointing
        self.kernels = "auto"
        self.vit: Any = import_timm(name).create_model(name, pretrained=False, num_classes=0, in_chans=input_channels)
        self.vit.head = nn.Identity()  # no output depends on its normalisation
        widths = dict.fromkeys(block.dim_out for block in self.vit.blocks if added.fact_rank)
        factors = {width: FacT(width, added.fact_rank, added.fact_scale, added.fact_dropout) for width in widths}
        self.fact = nn.ModuleDict({str(width): fact for width, fact in factors.items()})
        self.adapters = nn.ModuleList()
        for block in self.vit.blocks:
            fact = FacTBetween(factors[block.dim], factors[block.dim_out]) if factors else None
            if fact or added.lora_rank:
                block.attn.qkv = AdaptedQKV(block.attn.qkv, fact, added.lora_rank)
            if channels := block.dim // 2 if added.adapter_channels is None else added.adapter_channels:
                self.adapters.append(Adapter3d(block.dim, channels, added.adapter_kernel, added.adapter_dilation))
        self.neck = Neck(sum(stage["num_chs"] for stage in self.vit.feature_info[-2:]))

    @property
    def patch_embed(self) -> nn.Module:
        """Image to tokens."""
        return self.vit.patch_embed

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """(B·D, C, S, S'), samples of ``depth`` = D slices, to (B·D, 256, G, G')."""
        fine, coarse = self.last_stages(x, depth)
        # a convolution over both is the sum of one over each, which is how SAM 2 merges them
        return self.neck(torch.cat([fine, F.interpolate(coarse, scale_factor=2.0)], dim=1))

    def last_stages(self, x: Tensor, depth: int) -> list[Tensor]:
        """(B·D, C, S, S') to (B·D, E, G, G') and (B·D, 2·E, G/2, G'/2), timm's own where nothing is adapted."""
        recompute = choose_computation(self.kernels, self.adapters, x).recompute
        again = self.gradient_checkpointing and torch.is_grad_enabled()
        run = partial(checkpoint, self._block, use_reentrant=False) if again else self._block
        x = self.vit._pos_embed(self.vit.patch_embed(x))  # (N, S/4, S'/4, E)
        stages = []
        for index in range(len(self.vit.blocks)):
            x = run(x, index, depth, recompute)
            if index in self.vit.stage_ends[-2:]:
                stages.append(x.permute(0, 3, 1, 2))
        return stages

    def _block(self, x: Tensor, index: int, depth: int, recompute: bool) -> Tensor:
        """Adapter and block ``index``: (N, h, w, E) to the same shape, or (N, h/2, w/2, 2·E)."""
        if self.adapters:
            x = self.adapters[index](x, depth, recompute)
        return self.vit.blocks[index](x)
