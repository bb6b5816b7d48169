"""nnFormer (Zhou et al., TIP 2023, arXiv:2109.03201): a U-shaped network of shifted-window attention.

Written from the paper and from what the authors' code computes (282857341/nnFormer, commit d48aaeb). Some things are
kept although one would write them otherwise, because they produced the published figures:

* The relative position of two tokens becomes an index with a factor of 3w - 1 on the first axis, where (2w - 1)^2 would
  be unique: some offsets share a bias, and part of the table is never read.
* The first block of each decoder level is not shifted, its attention mixes keys and values of the skip connection with
  queries from below, and its residual branch starts at the sum of the two.
* Padding tokens take part in the attention of their window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunetv2_masam.baselines.monai import monai_module

NEEDED_BY = "nnFormer"


class NNFormer(nn.Module):
    """nnFormer.

    Args:
        input_channels: input channels.
        num_classes: output channels, background included.
        crop_size: patch size (D, H, W) in voxels. Other inputs work, too; where the token grid of this patch is no
            larger than a window, the window is the grid's shortest side.
        embedding_dim: width of the first level; it doubles at each.
        depths: blocks of each encoder level.
        num_heads: attention heads of each level.
        patch_size: voxels of a token (D, H, W).
        window_size: tokens along a window's sides, of each level.
        deep_supervision: return the logits of all decoder levels, full resolution first.
        drop_path_rate: stochastic depth of the last block; it grows linearly from zero.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        crop_size: Sequence[int] = (64, 128, 128),
        embedding_dim: int = 192,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (6, 12, 24, 48),
        patch_size: Sequence[int] = (2, 4, 4),
        window_size: Sequence[int] = (4, 4, 8, 4),
        deep_supervision: bool = True,
        drop_path_rate: float = 0.2,
    ) -> None:
        super().__init__()
        self._check(embedding_dim, depths, num_heads, patch_size, window_size)
        levels = len(depths)
        self.deep_supervision = deep_supervision
        self.multiple = [side * 2 ** (levels - 1) for side in patch_size]
        grid = [size // side for size, side in zip(crop_size, patch_size, strict=True)]
        self.patch_embed = PatchEmbedding(input_channels, embedding_dim, patch_size)

        def level(index: int, rates: Sequence[float], decoder: bool) -> AttentionLevel:
            shortest = min(side // 2**index for side in grid)
            return AttentionLevel(
                embedding_dim * 2**index, num_heads[index], window_size[index], shortest, rates, first_is_cross=decoder
            )

        rates = _growing(drop_path_rate, depths)
        self.encoder_levels = nn.ModuleList(level(index, rates[index], decoder=False) for index in range(levels))
        self.merging = nn.ModuleList(PatchMerging(embedding_dim * 2**index) for index in range(levels - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(embedding_dim * 2**index) for index in range(levels))
        # in the decoder the rates grow from the lowest resolution to the full one
        decoder_rates = _growing(drop_path_rate, [depths[index] for index in reversed(range(levels - 1))])
        self.expanding = nn.ModuleList(PatchExpanding(embedding_dim * 2 ** (index + 1)) for index in range(levels - 1))
        self.decoder_levels = nn.ModuleList(
            level(index, decoder_rates[levels - 2 - index], decoder=True) for index in range(levels - 1)
        )
        kernel = (patch_size[0], patch_size[1], patch_size[2])
        self.heads = nn.ModuleList(
            nn.ConvTranspose3d(embedding_dim * 2**index, num_classes, kernel, kernel) for index in range(levels - 1)
        )

    @staticmethod
    def _check(
        embedding_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        patch_size: Sequence[int],
        window_size: Sequence[int],
    ) -> None:
        if not len(depths) == len(num_heads) == len(window_size):
            raise ValueError(
                f"depths, num_heads and window_size: got {len(depths)}, {len(num_heads)} and {len(window_size)} "
                "values, expected as many of each: one for each level"
            )
        if any(embedding_dim * 2**index % heads for index, heads in enumerate(num_heads)):
            raise ValueError(
                f"embedding_dim ({embedding_dim}), doubled at each level, must be divisible by num_heads ({num_heads})"
            )
        if len(patch_size) != 3 or patch_size[0] not in (1, 2) or any(side != 4 for side in patch_size[1:]):
            raise ValueError(
                f"patch_size: got {tuple(patch_size)}, expected 1 or 2 voxels along D and 4 along H and W, which the "
                "strides of the patch embedding's two convolution pairs make"
            )

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Segment ``x``.

        Args:
            x: (B, C, D, H, W), sides multiples of :attr:`multiple`.

        Returns:
            logits (B, K, D, H, W); with deep supervision a list, each half the sides of the one before.
        """
        if any(side % multiple for side, multiple in zip(x.shape[2:], self.multiple, strict=True)):
            raise ValueError(
                f"x: got {tuple(x.shape[2:])} voxels, expected sides that are multiples of {tuple(self.multiple)}. "
                "Pad the image, or choose another patch size"
            )
        x = self.patch_embed(x)  # (B, D, H, W, E), in tokens
        skips = []
        for index, (level, norm) in enumerate(zip(self.encoder_levels, self.norms, strict=True)):
            x = level(x)
            skips.append(norm(x))
            if index < len(self.merging):
                x = self.merging[index](x)
        x = skips.pop()
        features: list[Tensor] = []
        for index in reversed(range(len(skips))):
            x = self.decoder_levels[index](self.expanding[index](x), skips[index])
            features.insert(0, x)
        logits = [head(level.movedim(-1, 1)) for head, level in zip(self.heads, features, strict=False)]
        return logits if self.deep_supervision else logits[0]


def _growing(last: float, depths: Sequence[int]) -> list[list[float]]:
    """Rates from zero to ``last``, one for each block of each level."""
    blocks = sum(depths)
    rates = iter(last * index / max(1, blocks - 1) for index in range(blocks))
    return [[next(rates) for _ in range(depth)] for depth in depths]


class PatchEmbedding(nn.Module):
    """Two pairs of convolutions; together they turn a patch of voxels into a token."""

    def __init__(self, input_channels: int, width: int, patch_size: Sequence[int]) -> None:
        super().__init__()
        first = (patch_size[0], patch_size[1] // 2, patch_size[2] // 2)
        second = (1, patch_size[1] // 2, patch_size[2] // 2)
        half = width // 2
        self.convolutions = nn.ModuleList(
            nn.Conv3d(channels_in, channels_out, 3, stride, padding=1)
            for channels_in, channels_out, stride in (
                (input_channels, half, first), (half, half, 1), (half, width, second), (width, width, 1),
            )
        )  # fmt: skip
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in (half, half, width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, D, H, W) in voxels to (B, D, H, W, E) in tokens."""
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = convolution(x)
            if index < 3:  # the last convolution has no activation
                x = functional.gelu(x)
            x = norm(x.movedim(1, -1)).movedim(-1, 1)
        return x.movedim(1, -1)


class PatchMerging(nn.Module):
    """Halve the token grid and double the width, by a strided convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.reduction = nn.Conv3d(width, 2 * width, kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, E) to (B, D / 2, H / 2, W / 2, 2E)."""
        return self.reduction(self.norm(functional.gelu(x)).movedim(-1, 1)).movedim(1, -1)


class PatchExpanding(nn.Module):
    """Double the token grid and halve the width, by a transposed convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.ConvTranspose3d(width, width // 2, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W, E) to (B, 2D, 2H, 2W, E / 2)."""
        return self.up(self.norm(x).movedim(-1, 1)).movedim(1, -1)


class AttentionLevel(nn.Module):
    """Blocks on one token grid; every second one has its windows shifted by half their side.

    Args:
        width: of a token.
        heads: attention heads.
        window: tokens along a window's sides.
        shortest: the shortest side of the token grid; where it is no longer than a window, it is the window, and
            nothing is shifted.
        rates: stochastic depth of each block.
        first_is_cross: the first block takes keys and values from the skip connection.
    """

    def __init__(
        self, width: int, heads: int, window: int, shortest: int, rates: Sequence[float], *, first_is_cross: bool
    ) -> None:
        super().__init__()
        shift = window // 2 if shortest > window else 0
        self.blocks = nn.ModuleList(
            AttentionBlock(
                width, heads, min(window, shortest), shift * (index % 2), rate, first_is_cross and index == 0
            )
            for index, rate in enumerate(rates)
        )

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Any (B, D, H, W, E), with ``skip`` alike in a decoder, to the same shape."""
        for block in self.blocks:
            x = block(x, skip)
            skip = None
        return x


class AttentionBlock(nn.Module):
    """Window attention and an MLP, each on a normalised input and added to it."""

    def __init__(self, width: int, heads: int, window: int, shift: int, rate: float, cross: bool) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window, cross)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = monai_module("monai.networks.blocks", NEEDED_BY).MLPBlock(width, 4 * width)
        self.drop_path = monai_module("monai.networks.layers", NEEDED_BY).DropPath(rate)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Any (B, D, H, W, E) to the same shape; ``skip`` is alike, or None where a token attends to its own kind."""
        sides = x.shape[1:4]
        padding = [(-side) % self.window for side in sides]
        attended = self.attn(
            self._windows(self.norm1(x), padding),
            None if skip is None else self._windows(self.norm1(skip), padding),
            self._mask([side + more for side, more in zip(sides, padding, strict=True)], x),
        )
        residual = x if skip is None else x + skip
        x = residual + self.drop_path(self._from_windows(attended, sides, padding))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _windows(self, x: Tensor, padding: Sequence[int]) -> Tensor:
        depth, height, width = padding
        x = functional.pad(x, (0, 0, 0, width, 0, height, 0, depth))
        if self.shift:
            x = x.roll((-self.shift,) * 3, dims=(1, 2, 3))
        return _split(x, self.window)

    def _from_windows(self, windows: Tensor, sides: Sequence[int], padding: Sequence[int]) -> Tensor:
        w, e = self.window, windows.shape[-1]
        d, h, v = ((side + more) // w for side, more in zip(sides, padding, strict=True))
        x = windows.view(-1, d, h, v, w, w, w, e).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, d * w, h * w, v * w, e)
        if self.shift:
            x = x.roll((self.shift,) * 3, dims=(1, 2, 3))
        return x[:, : sides[0], : sides[1], : sides[2]]

    def _mask(self, sides: Sequence[int], like: Tensor) -> Tensor | None:
        """-100 between tokens of one window that the shift put together from the two ends of an axis."""
        if not self.shift:
            return None
        region = torch.zeros(1, *sides, 1, device=like.device)  # a number for each end and middle, along all axes
        for axis, side in enumerate(sides, start=1):
            along = torch.arange(side, device=like.device)
            part = (along >= side - self.window).float() + (along >= side - self.shift)
            region = 3 * region + part.view([-1 if index == axis else 1 for index in range(5)])
        windows = _split(region, self.window).squeeze(-1)  # (windows, T)
        return torch.where(windows[:, None] == windows[:, :, None], 0.0, -100.0)  # (windows, T, T)


def _split(x: Tensor, window: int) -> Tensor:
    """(B, D, H, W, E) to (B * windows, window^3, E)."""
    b, d, h, v, e = x.shape
    w = window
    x = x.view(b, d // w, w, h // w, w, v // w, w, e).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(-1, w**3, e)


class WindowAttention(nn.Module):
    """Multi-head attention within windows, with a learnt bias for each relative position.

    Args:
        width: of a token.
        heads: attention heads.
        window: tokens along a window's sides.
        cross: keys and values come from another tensor, and queries are taken as they are, without a projection.
    """

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: int, cross: bool) -> None:
        super().__init__()
        self.heads = heads
        self.scale = math.sqrt(heads / width)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 3, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(window), persistent=False)
        if cross:
            self.kv = nn.Linear(width, 2 * width)
        else:
            self.qkv = nn.Linear(width, 3 * width)
        self.cross = cross
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, other: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Attend within each window.

        Args:
            x: (B * windows, T, E).
            other: keys and values come from here, alike; only where ``cross``.
            mask: (windows, T, T), added to the scores.
        """
        if self.cross:
            q, k, v = (self._by_head(part) for part in (x, *self.kv(other).chunk(2, dim=-1)))
        else:
            q, k, v = (self._by_head(part) for part in self.qkv(x).chunk(3, dim=-1))
        tokens = x.shape[1]
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.view(tokens, tokens, -1).permute(2, 0, 1)[None]  # (1, heads, T, T)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(len(x) // len(mask), 1, 1, 1)
        x = functional.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), scale=self.scale)
        return self.proj(x.transpose(1, 2).flatten(2))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B * windows, heads, T, E / heads)


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of tokens of a window, (window^3, window^3).

    The factor on the first axis is the authors' 3w - 1, so that some offsets share a row.
    """
    along = torch.arange(window)
    positions = torch.stack(torch.meshgrid(along, along, along, indexing="ij")).flatten(1)  # (3, T)
    depth, height, width = positions[:, :, None] - positions[:, None] + window - 1
    return depth * (3 * window - 1) + height * (2 * window - 1) + width
