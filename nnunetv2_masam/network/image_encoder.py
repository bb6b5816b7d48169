"""SAM's ViT image encoder with FacT increments in the attention and two 3D adapters in every block.

Source: Kirillov et al., Segment Anything (2023), appendix A, and MA-SAM, section 3. Parameters that SAM has keep SAM's
names, so that its checkpoints fit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nnunetv2_masam.architecture import PATCH_SIZE, WINDOW_SIZE, AdaptationSize, ViTSize
from nnunetv2_masam.network.attention import Attention
from nnunetv2_masam.network.block import AdaptedBlock, choose_computation
from nnunetv2_masam.network.fact import FacT
from nnunetv2_masam.network.neck import Neck
from nnunetv2_masam.network.sam_parts import MLPBlock


class PatchEmbed(nn.Module):
    """Image to tokens: a convolution whose stride is its kernel."""

    def __init__(self, input_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(input_channels, embed_dim, kernel_size=PATCH_SIZE, stride=PATCH_SIZE)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S') to (N, G, G', E)."""
        return self.proj(x).permute(0, 2, 3, 1).contiguous()  # all that follows works along E


class Block(AdaptedBlock):
    """A block of SAM's ViT with what MA-SAM adds. A rank or number of channels of 0 leaves a part out."""

    def __init__(self, vit: ViTSize, window: tuple[int, int], added: AdaptationSize) -> None:
        dim = vit.embed_dim
        channels = vit.adapter_channels(dim) if added.adapter_channels is None else added.adapter_channels
        super().__init__(dim, channels, added)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, vit.num_heads, window, added.fact_rank, added.lora_rank, vit.rel_pos)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(embedding_dim=dim, mlp_dim=vit.mlp_width)

    def attend(self, x: Tensor, fact: FacT | None, attention: Callable[..., Tensor]) -> Tensor:
        """(n, G, G', E) to the same shape."""
        return x + self.attn(self.norm1(x), fact, attention)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(n, G, G', E) to the same shape."""
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """Slices to image embeddings. :class:`~nnunetv2_masam.network.masam.MASAM` describes the arguments."""

    def __init__(
        self,
        vit: ViTSize,
        input_channels: int,
        image_size: tuple[int, int],
        added: AdaptationSize,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        self.kernels = "auto"  # set by MASAM.kernels
        grid = (image_size[0] // PATCH_SIZE, image_size[1] // PATCH_SIZE)
        window = (WINDOW_SIZE, WINDOW_SIZE)
        self.patch_embed = PatchEmbed(input_channels, vit.embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, *grid, vit.embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        dim = vit.embed_dim
        self.fact = FacT(dim, added.fact_rank, added.fact_scale, added.fact_dropout) if added.fact_rank else None
        reach = [grid if index in vit.global_attn_indexes else window for index in range(vit.depth)]
        self.blocks = nn.ModuleList(Block(vit, tokens, added) for tokens in reach)
        self.neck = Neck(vit.embed_dim)

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """(B·D, C, S, S'), samples of ``depth`` = D slices, to (B·D, 256, G, G')."""
        x = self.patch_embed(x) + self.pos_embed  # (N, G, G', E)
        computation = choose_computation(self.kernels, self.blocks, x)
        for block in self.blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, self.fact, depth, computation, use_reentrant=False)
            else:
                x = block(x, self.fact, depth, computation)
        return self.neck(x.permute(0, 3, 1, 2))
