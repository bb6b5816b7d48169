"""SAM's two-way mask decoder with one token per output channel and upsampling to the input resolution.

Four transposed convolutions, where SAM and SAMed have two, give logits at the resolution of the network's input; see
MA-SAM, section 3.4. SAM's IoU head is never used and left out; its token stays, because other tokens attend to it.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_masam.architecture import EMBEDDING_CHANNELS
from nnunetv2_masam.network.sam_parts import MLP, TwoWayTransformer


class Doubling(nn.ConvTranspose2d):
    """A transposed convolution with kernel and stride 2 on channels kept last: its outputs do not overlap."""

    def __init__(self, input_channels: int, output_channels: int) -> None:
        super().__init__(input_channels, output_channels, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, h, w, c) to (N, 2·h, 2·w, c')."""
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4·c', c)
        assert self.bias is not None
        x = F.linear(x, weight, self.bias.repeat(4)).unflatten(3, (2, 2, -1))  # (N, h, w, 2, 2, c')
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


class Upscaling(nn.Sequential):
    """Token grid to pixels: (N, G, G', 256) to (N, S, S', 8) with four doublings.

    The first doubling leaves a quarter of the channels, each further one half of them. Parameters have SAM's names;
    channels are last, where SAM has them second, so that normalising over them needs no copies.
    """

    def __init__(self, dim: int, doublings: int) -> None:
        super().__init__()
        channels = [dim, *(dim // 4 >> step for step in range(doublings))]
        for step, (before, after) in enumerate(itertools.pairwise(channels), start=1):
            self.append(Doubling(before, after))
            if step < doublings:
                self.append(nn.LayerNorm(after, eps=1e-6))
            self.append(nn.GELU())
        self.out_channels = channels[-1]


class SegmentationLayers(nn.Module):
    """All that depends on the number of output channels.

    :class:`MaskDecoder` names it ``seg_layers``: nnU-Net skips parameters with ``.seg_layers.`` in their name when it
    transfers weights between datasets.
    """

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.mask_tokens = nn.Embedding(num_classes, EMBEDDING_CHANNELS)
        self.hypernetworks = nn.ModuleList(
            MLP(EMBEDDING_CHANNELS, EMBEDDING_CHANNELS, channels, num_layers=3) for _ in range(num_classes)
        )

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """Tokens (N, K, 256) and embedding (N, S, S', c) to logits (N, K, S, S')."""
        weights = torch.stack([mlp(tokens[:, k]) for k, mlp in enumerate(self.hypernetworks)], dim=1)  # (N, K, c)
        return (weights @ embedding.flatten(1, 2).transpose(1, 2)).unflatten(2, embedding.shape[1:3])


class MaskDecoder(nn.Module):
    """Image embeddings and prompts to logits."""

    def __init__(self, num_classes: int, doublings: int = 4) -> None:
        super().__init__()
        dim = EMBEDDING_CHANNELS
        self.transformer = TwoWayTransformer(depth=2, embedding_dim=dim, mlp_dim=2048, num_heads=8)
        self.iou_token = nn.Embedding(1, dim)
        self.output_upscaling = Upscaling(dim, doublings)
        self.seg_layers = SegmentationLayers(num_classes, channels=self.output_upscaling.out_channels)

    def forward(self, embedding: Tensor, position: Tensor, sparse: Tensor, dense: Tensor) -> Tensor:
        """Image embedding (N, 256, G, G') to logits, (N, K, S, S') with four doublings.

        Args:
            embedding: from the image encoder.
            position: (1, 256, G, G'), positional encoding of the grid.
            sparse: (N, prompts, 256) embedded prompts, or (1, 0, 256) without.
            dense: (1 or N, 256, G, G'), added to the embedding.
        """
        tokens = torch.cat([self.iou_token.weight, self.seg_layers.mask_tokens.weight])  # (1 + K, 256)
        tokens = torch.cat([tokens.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        tokens, pixels = self.transformer(embedding + dense, position, tokens)
        pixels = pixels.unflatten(1, embedding.shape[2:])  # (N, G, G', 256)
        num_classes = self.seg_layers.mask_tokens.num_embeddings
        return self.seg_layers(tokens[:, 1 : 1 + num_classes], self.output_upscaling(pixels))
