"""SAM's neck: from tokens of any width to the embeddings that its mask decoder reads.

Source: Kirillov et al., Segment Anything (2023), appendix A.
"""

from __future__ import annotations

from torch import nn

from nnunetv2_masam.architecture import EMBEDDING_CHANNELS
from nnunetv2_masam.network.sam_parts import LayerNorm2d


class Neck(nn.Sequential):
    """(N, E, G, G') to (N, 256, G, G')."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__(
            nn.Conv2d(embed_dim, EMBEDDING_CHANNELS, kernel_size=1, bias=False),
            LayerNorm2d(EMBEDDING_CHANNELS),
            nn.Conv2d(EMBEDDING_CHANNELS, EMBEDDING_CHANNELS, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(EMBEDDING_CHANNELS),
        )
