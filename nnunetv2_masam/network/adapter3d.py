"""MA-SAM's 3D adapter: the only place where the slices of a sample see each other.

x + up(GELU(conv(down(LayerNorm(x))))) with a convolution of kernel 3 × 1 × 1 along the slices, zeros beyond the ends.
``up`` does not start at zero, as in the authors' code. Source: MA-SAM, section 3.3.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Adapter3d(nn.Module):
    """What a 3D adapter adds to its input.

    Args:
        dim: E, embedding width.
        channels: A, channels of the convolution.
    """

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.down = nn.Linear(dim, channels, bias=False)
        self.conv = nn.Conv3d(channels, channels, kernel_size=(3, 1, 1), padding="same")
        self.up = nn.Linear(channels, dim, bias=False)

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """(B·D, G, G', E) to (B·D, G, G', E), the increment, for samples of ``depth`` = D slices."""
        hidden = self.down(self.norm(x)).unflatten(0, (-1, depth))  # (B, D, G, G', A)
        return self.up(F.gelu(self._convolve_slices(hidden).flatten(0, 1)))

    def _convolve_slices(self, x: Tensor) -> Tensor:
        """``conv`` on (B, D, G, G', A): a matrix product for each tap, without moving channels to the front."""
        before, here, after = self.conv.weight[:, :, :, 0, 0].unbind(dim=2)  # (A, A) each
        y = F.linear(x, here, self.conv.bias)
        if x.shape[1] > 1:
            y[:, 1:] += F.linear(x[:, :-1], before)
            y[:, :-1] += F.linear(x[:, 1:], after)
        return y
