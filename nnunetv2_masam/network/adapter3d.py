"""MA-SAM's 3D adapter (section 3.3): the only place where the slices of a sample see each other.

As in the authors' code, ``up`` does not start at zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nnunetv2_masam.network.adaptation import Adaptation


class ConvAlongSlices(nn.Conv3d):
    """A convolution over the slices of a sample, with zeros beyond their ends.

    Its parameters are those of the authors' Conv3d. It is computed in two dimensions, slices and tokens, on channels
    that stay last in memory, for which oneDNN and cuDNN need no copies.
    """

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__(channels, channels, (kernel, 1, 1), dilation=(dilation, 1, 1), padding="same")

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, G, G', A) to the same shape."""
        flat = x.flatten(2, 3).permute(0, 3, 1, 2)  # (B, A, D, T)
        out = F.conv2d(flat, self.weight.squeeze(-1), self.bias, padding="same", dilation=(self.dilation[0], 1))
        return out.permute(0, 2, 3, 1).unflatten(2, x.shape[2:4])


class Adapter3d(Adaptation):
    """x + up(GELU(conv(down(LayerNorm(x))))).

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
        self.conv = ConvAlongSlices(channels, kernel, dilation)
        self.up = nn.Linear(channels, dim, bias=False)

    def forward(self, x: Tensor, depth: int, recompute: bool = False) -> Tensor:
        """(B·D, G, G', E), samples of ``depth`` = D slices, to the same shape.

        With ``recompute`` the convolution's output is all that is stored for the backward pass, in place of five
        tensors: activation checkpointing ends before the convolution and starts again after it, so that only the
        normalisation, one narrow product and GELU are computed again.
        """
        if not self.enabled:
            return x
        if not recompute:
            return x + self.expand(self.mix(self.narrow(x), depth))
        mixed = _recomputed(lambda x: self.mix(self.narrow(x), depth), x)
        return x + _recomputed(self.expand, mixed)

    def narrow(self, x: Tensor) -> Tensor:
        """(…, E) to (…, A)."""
        return self.down(self.norm(x))

    def mix(self, narrowed: Tensor, depth: int) -> Tensor:
        """The convolution along the slices: (B·D, G, G', A) to the same shape."""
        return self.conv(narrowed.unflatten(0, (-1, depth))).flatten(0, 1)

    def expand(self, mixed: Tensor) -> Tensor:
        """(…, A) to the increment, (…, E)."""
        return self.up(F.gelu(mixed))


def _recomputed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Activation checkpointing; nothing in it is random."""
    out: Tensor = checkpoint(function, x, use_reentrant=False, preserve_rng_state=False)
    return out
