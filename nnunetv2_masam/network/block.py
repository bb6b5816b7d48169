"""Common parts of the blocks of all SAM encoders, and the choice between the plain and the fast computation.

The ways give the same result within rounding. Each is justified by a benchmark on a CPU: attention by parts by the
memory of a training step, a few slices at a time by the time and memory of prediction in deep tiles
(``benchmarks/results/kernels-step-cpu.json``, ``kernels-forward-cpu.json``). Recomputing the adapters saves memory on
every device. Hooks, parametrizations, quantised layers and ``torch.compile`` get the plain way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnunetv2_masam.architecture import AdaptationSize
from nnunetv2_masam.network.adaptation import is_plain
from nnunetv2_masam.network.adapter3d import Adapter3d
from nnunetv2_masam.network.attention import decomposed_attention
from nnunetv2_masam.network.attention_by_parts import attention_by_parts
from nnunetv2_masam.network.fact import FacT

KERNELS = ("auto", "plain", "fast")
_NUMBERS_AT_ONCE = 2 * 32 * 32 * 768  # of tokens: two slices of 512 x 512 in ViT-B, more in smaller networks


@dataclass(frozen=True)
class Computation:
    """How blocks are computed.

    Attributes:
        attention: of SAM's ViT: :func:`~nnunetv2_masam.network.attention.decomposed_attention` or an equivalent.
        recompute: whether adapters are computed again in the backward pass.
        by_slices: whether a block takes a few slices at a time, which needs autograd to be off.
    """

    attention: Callable[..., Tensor] = decomposed_attention
    recompute: bool = False
    by_slices: bool = False


PLAIN = Computation()


def choose_computation(kernels: str, blocks: nn.Module, x: Tensor) -> Computation:
    """Choose the computation that suits ``blocks`` on the device of ``x``.

    Args:
        kernels: ``auto``; ``plain`` or ``fast`` for the plain or the leanest way on every device.
        blocks: the modules that are computed.
        x: on their device.
    """
    if kernels == "plain" or not is_plain(blocks):
        return PLAIN
    on_cpu = x.device.type == "cpu"
    attention = attention_by_parts if on_cpu or kernels == "fast" else decomposed_attention
    stores = torch.is_grad_enabled()
    return Computation(attention, recompute=stores, by_slices=on_cpu and not stores)


class AdaptedBlock(nn.Module):
    """Adapter, attention, adapter, MLP. Subclasses say what attention and MLP are.

    Args:
        dim: E.
        channels: A; 0 leaves the adapters out.
        added: geometry of the adapters.
    """

    def __init__(self, dim: int, channels: int, added: AdaptationSize) -> None:
        super().__init__()
        kernel = (added.adapter_kernel, added.adapter_dilation)
        self.adapter_1 = Adapter3d(dim, channels, *kernel) if channels else None
        self.adapter_2 = Adapter3d(dim, channels, *kernel) if channels else None

    def attend(self, x: Tensor, fact: FacT | None, attention: Callable[..., Tensor]) -> Tensor:
        """(n, G, G', E), any number of slices, to the same shape: all between the two adapters."""
        raise NotImplementedError

    def feed_forward(self, x: Tensor) -> Tensor:
        """(n, G, G', E), any number of slices, to the same shape: all after the second adapter."""
        raise NotImplementedError

    def forward(self, x: Tensor, fact: FacT | None, depth: int, computation: Computation = PLAIN) -> Tensor:
        """(B·D, G, G', E), samples of ``depth`` = D slices, to the same shape, with the factors that blocks share."""
        if computation.by_slices:
            return self._by_slices(x, fact, depth, computation.attention)
        if self.adapter_1 is not None:
            x = self.adapter_1(x, depth, computation.recompute)
        x = self.attend(x, fact, computation.attention)
        if self.adapter_2 is not None:
            x = self.adapter_2(x, depth, computation.recompute)
        return self.feed_forward(x)

    def _by_slices(self, x: Tensor, fact: FacT | None, depth: int, attention: Callable[..., Tensor]) -> Tensor:
        """The same a few slices at a time: they see each other in the adapters' convolutions only.

        What is computed in between stays in the cache, and its memory is used again.
        """
        x = x.clone()
        parts = x.split(max(1, _NUMBERS_AT_ONCE // x[0].numel()))  # views: what is written to them is written to x
        _add_adapter(self.adapter_1, parts, depth)
        for part in parts:
            part.copy_(self.attend(part, fact, attention))
        _add_adapter(self.adapter_2, parts, depth)
        for part in parts:
            part.copy_(self.feed_forward(part))
        return x


def _add_adapter(adapter: Adapter3d | None, parts: tuple[Tensor, ...], depth: int) -> None:
    """Adds an adapter's increment to the slices that it is computed from."""
    if adapter is None or not adapter.enabled:
        return
    mixed = adapter.mix(torch.cat([adapter.narrow(part) for part in parts]), depth)  # (B·D, G, G', A)
    for part, mixed_part in zip(parts, mixed.split(len(parts[0])), strict=True):
        part += adapter.expand(mixed_part)
