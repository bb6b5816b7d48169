"""MA-SAM's 3D adapter (section 3.3): the only place where the slices of a sample see each other.

As in the authors' code, ``up`` does not start at zero.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_masam.network.adaptation import Adaptation


class Adapter3d(Adaptation):
    """x + up(GELU(conv(down(LayerNorm(x))))), with a convolution along the slices and zeros beyond their ends.

    Args:
        dim: E.
        channels: A.
        kernel: slices that the convolution takes together, an odd number; the authors take 3.
        dilation: distance between them, in slices.
    """

    def __init__(self, dim: int, channels: int, kernel: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.down = nn.Linear(dim, channels, bias=False)
        self.conv = nn.Conv3d(channels, channels, kernel_size=(kernel, 1, 1), dilation=(dilation, 1, 1), padding="same")
        self.up = nn.Linear(channels, dim, bias=False)

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """(B·D, G, G', E), samples of ``depth`` = D slices, to the same shape."""
        if not self.enabled:
            return x
        return x + self.expand(self.reduce(x, depth))

    def reduce(self, x: Tensor, depth: int) -> Tensor:
        """(B·D, G, G', E) to the output of the convolution, (B·D, G, G', A)."""
        return self.mix(self.narrow(x), depth)

    def narrow(self, x: Tensor) -> Tensor:
        """(…, E) to (…, A)."""
        return self.down(self.norm(x))

    def mix(self, narrowed: Tensor, depth: int) -> Tensor:
        """The convolution along the slices: (B·D, G, G', A) to the same shape."""
        volume = narrowed.unflatten(0, (-1, depth)).permute(0, 4, 1, 2, 3)  # (B, A, D, G, G')
        return self.conv(volume).permute(0, 2, 3, 4, 1).flatten(0, 1)

    def expand(self, mixed: Tensor) -> Tensor:
        """(…, A) to the increment, (…, E)."""
        return self.up(F.gelu(mixed))
