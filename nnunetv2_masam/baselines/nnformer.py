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

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from nnunetv2_masam.baselines.window_attention import AttentionLevel


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
