"""A block for less memory: 74 % of the plain form's peak in a training step, adapters and attention together.

Adapters alone need 86 %, attention alone 87 % (``benchmarks/results/kernels-traced.json``), so the two are one kernel.

- Adapters: the plain form stores five tensors, the input, which the block has anyway, its normalisation, both sides of
  the convolution, and the output of GELU. Here the convolution's output is all that is stored. Activation checkpointing
  ends before and starts again after the convolution, whose output is therefore not computed again; the normalisation,
  one narrow product and GELU are.
- Attention: on a CPU by parts, see :mod:`~nnunetv2_masam.network.kernels.attention`.

Without autograd nothing is stored: on a CPU :mod:`~nnunetv2_masam.network.kernels.prediction` takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nnunetv2_masam.network.adapter3d import Adapter3d
from nnunetv2_masam.network.fact import FacT

if TYPE_CHECKING:
    from nnunetv2_masam.network.image_encoder import Block

Context = Callable[[], AbstractContextManager]


def lean_block(
    block: Block,
    x: Tensor,
    fact: FacT | None,
    depth: int,
    attention: Callable[..., Tensor],
    products: Context = nullcontext,
) -> Tensor:
    """``Block.forward`` on (B·D, G, G', E), samples of ``depth`` = D slices, to the same shape.

    ``attention`` is what :meth:`Attention.forward` takes, ``products`` a context for the linear layers.
    """
    with products():
        if block.adapter_1 is not None:
            x = recomputed_adapter(block.adapter_1, x, depth, products)
        x = x + block.attn(block.norm1(x), fact, attention)
        if block.adapter_2 is not None:
            x = recomputed_adapter(block.adapter_2, x, depth, products)
        return x + block.mlp(block.norm2(x))


def recomputed_adapter(adapter: Adapter3d, x: Tensor, depth: int, products: Context = nullcontext) -> Tensor:
    """:meth:`Adapter3d.forward`: (B·D, G, G', E) to the same shape."""
    if not adapter.enabled:
        return x
    mixed = _recomputed(adapter.reduce, products, x, depth)  # (B·D, G, G', A)
    return x + _recomputed(adapter.expand, products, mixed)


def _recomputed(function: Callable[..., Tensor], products: Context, *args: Tensor | int) -> Tensor:
    """Activation checkpointing, with the same products when it computes again; nothing in it is random."""
    contexts = lambda: (products(), products())  # noqa: E731
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
