"""3D UX-Net (Lee et al., ICLR 2023, arXiv:2209.15076): ConvNeXt blocks with 7 x 7 x 7 kernels, and UNETR's decoder.

Written from the paper and from what the authors' code computes (MASILab/3DUX-Net, commit 14ea46b), which produced the
published figures: the pointwise convolutions are grouped by channel, so that channels do not mix in a block, and there
is no stochastic depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunetv2_masam.baselines.monai import monai_module

DOWNSAMPLING = 16  # voxels of the input for one at the bottom; the bottleneck keeps that resolution


class UXNet3D(nn.Module):
    """3D UX-Net.

    Args:
        in_chans: input channels.
        out_chans: output channels, background included.
        depths: blocks of each of the four stages.
        feat_size: width of each stage.
        hidden_size: width of the bottleneck.
        layer_scale_init_value: initial value of the factor of each block's residual branch.
    """

    def __init__(
        self,
        in_chans: int,
        out_chans: int,
        *,
        depths: Sequence[int] = (2, 2, 2, 2),
        feat_size: Sequence[int] = (48, 96, 192, 384),
        hidden_size: int = 768,
        layer_scale_init_value: float = 1e-6,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or len(feat_size) != 4:
            raise ValueError(
                f"depths and feat_size: got {len(depths)} and {len(feat_size)} values, expected 4 each, one per stage"
            )
        self.backbone = UXNetBackbone(in_chans, depths, feat_size, layer_scale_init_value)
        blocks = monai_module("monai.networks.blocks", "3D UX-Net")

        def encoder(channels_in: int, channels_out: int) -> nn.Module:
            return blocks.UnetrBasicBlock(3, channels_in, channels_out, 3, 1, "instance", res_block=True)

        widths = [*feat_size, hidden_size]
        # from the input, from each stage's features
        self.encoders = nn.ModuleList(encoder(*pair) for pair in zip([in_chans, *feat_size], widths, strict=True))
        self.decoders = nn.ModuleList(
            blocks.UnetrUpBlock(3, deep, shallow, 3, 2, "instance", res_block=True)
            for deep, shallow in pairwise(reversed(widths))
        )
        self.refinement = encoder(feat_size[0], feat_size[0])
        self.out = nn.Conv3d(feat_size[0], out_chans, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Segment ``x``.

        Args:
            x: (B, C, D, H, W), sides multiples of 16.

        Returns:
            logits (B, K, D, H, W).
        """
        if any(side % DOWNSAMPLING for side in x.shape[2:]):
            raise ValueError(
                f"x: got {tuple(x.shape[2:])} voxels, expected sides that are multiples of {DOWNSAMPLING}. "
                "Pad the image, or choose another patch size"
            )
        *skips, features = [
            encoder(level) for encoder, level in zip(self.encoders, [x, *self.backbone(x)], strict=True)
        ]
        for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
            features = decoder(features, skip)
        logits: Tensor = self.out(self.refinement(features))
        return logits


class UXNetBackbone(nn.Module):
    """Four stages of large-kernel blocks, at a half to a sixteenth of the resolution."""

    def __init__(
        self, in_chans: int, depths: Sequence[int], widths: Sequence[int], layer_scale_init_value: float
    ) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv3d(in_chans, widths[0], kernel_size=7, stride=2, padding=3), ChannelNorm(widths[0]))
        halvings = [
            nn.Sequential(ChannelNorm(narrow), nn.Conv3d(narrow, wide, kernel_size=2, stride=2))
            for narrow, wide in pairwise(widths)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(UXBlock(width, layer_scale_init_value) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        self.norms = nn.ModuleList(ChannelNorm(width) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of each stage, (B, width, D / 2^i, H / 2^i, W / 2^i) for i = 1 to 4."""
        features = []
        for downsample, stage, norm in zip(self.downsample_layers, self.stages, self.norms, strict=True):
            x = stage(downsample(x))
            features.append(norm(x))
        return features


class UXBlock(nn.Module):
    """A depthwise 7 x 7 x 7 convolution, then four copies of each channel, scaled, through GELU and summed again."""

    def __init__(self, width: int, layer_scale_init_value: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv3d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = ChannelNorm(width)
        self.pwconv1 = nn.Conv3d(width, 4 * width, kernel_size=1, groups=width)
        self.pwconv2 = nn.Conv3d(4 * width, width, kernel_size=1, groups=width)
        self.gamma = nn.Parameter(torch.full((width,), layer_scale_init_value))

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape of ``x``, (B, width, D, H, W)."""
        branch = self.pwconv2(functional.gelu(self.pwconv1(self.norm(self.dwconv(x)))))
        return x + self.gamma.view(-1, 1, 1, 1) * branch


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of (B, C, D, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return the shape of ``x``."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
