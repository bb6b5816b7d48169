"""MA-SAM's 3D adapter: the only place where the slices of a sample see each other.

x + up(GELU(conv(down(LayerNorm(x))))) with a convolution of kernel 3 × 1 × 1 along the slices, zeros beyond the ends.
``up`` does not start at zero, as in the authors' code. Source: MA-SAM, section 3.3.

Written as one autograd function, because a training step would otherwise store three times as much: the normalised
input, what the convolution reads and the output of GELU cost little to compute again. And the convolution is a matrix
product for each tap, whose sum needs no copies when it is formed in place.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nnunetv2_masam.network.autocast import autocast_as_in_forward, remember_autocast
from nnunetv2_masam.network.slices import slice_groups


class Adapter3d(nn.Module):
    """A 3D adapter around its residual connection.

    Its linear maps and its convolution hold parameters only; they are not called.

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
        """(B·D, G, G', E), samples of ``depth`` = D slices, to the same shape; without gradients in the place of x."""
        if not torch.is_grad_enabled():
            for sample in x.unflatten(0, (-1, depth)):
                self._add_to(sample)
            return x
        return _Adapter.apply(
            x,
            depth,
            self.norm.weight,
            self.norm.bias,
            self.norm.eps,
            self.down.weight,
            self.conv.weight,
            self.conv.bias,
            self.up.weight,
        )

    def _add_to(self, sample: Tensor) -> None:
        """Change the slices (D, G, G', E) of one sample in place, a few at a time."""
        groups = slice_groups(sample)
        down, up = self.down.weight, self.up.weight
        hidden = torch.cat([F.linear(self.norm(part), down) for part in groups])  # (D, G, G', A)
        before, here, after = _taps(self.conv.weight)
        start = 0
        for part in groups:
            stop = start + len(part)
            mixed = F.linear(hidden[start:stop], here, self.conv.bias)
            first, last = int(start == 0), int(stop == len(sample))
            mixed[first:] += F.linear(hidden[start - 1 + first : stop - 1], before)
            mixed[: len(part) - last] += F.linear(hidden[start + 1 : stop + 1], after)
            part += F.linear(F.gelu(mixed), up)
            start = stop


class _Adapter(torch.autograd.Function):
    """The adapter on (B·D, G, G', E); stores its input and what the convolution writes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        depth: int,
        norm_weight: Tensor,
        norm_bias: Tensor,
        eps: float,
        down: Tensor,
        kernel: Tensor,
        bias: Tensor,
        up: Tensor,
    ) -> Tensor:
        slices = x.unflatten(0, (-1, depth))  # (B, D, G, G', E)
        hidden = F.linear(F.layer_norm(slices, x.shape[-1:], norm_weight, norm_bias, eps), down)  # (B, D, G, G', A)
        mixed = _convolve_slices(hidden, *_taps(kernel))
        mixed += bias
        ctx.eps = eps
        ctx.save_for_backward(slices, norm_weight, norm_bias, down, kernel, up, mixed)
        remember_autocast(ctx, x)
        increment = F.linear(F.gelu(mixed).flatten(0, 1), up)
        return increment.add_(x) if increment.dtype == x.dtype else increment + x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, norm_weight, norm_bias, down, kernel, up, mixed = ctx.saved_tensors
        grad = grad.view_as(x)
        before, here, after = _taps(kernel)
        with autocast_as_in_forward(ctx):
            with torch.enable_grad():
                mixed = mixed.detach().requires_grad_()
                activated = F.gelu(mixed)
            grad_up = _weight_grad(grad, activated.detach())
            (grad_mixed,) = torch.autograd.grad(activated, mixed, grad @ up)
            del activated
            with torch.enable_grad():
                inputs = [tensor.detach().requires_grad_() for tensor in (x, norm_weight, norm_bias)]
                normed = F.layer_norm(inputs[0], x.shape[-1:], inputs[1], inputs[2], ctx.eps)
            hidden = F.linear(normed.detach(), down)
            grad_kernel = torch.stack(_tap_grads(grad_mixed, hidden), dim=2)[..., None, None]
            # to the slice before goes what the tap for the slice after brought, and the other way round
            grad_hidden = _convolve_slices(grad_mixed, after.t(), here.t(), before.t())
            grad_down = _weight_grad(grad_hidden, normed.detach())
            grad_x, *grads = torch.autograd.grad(normed, inputs, grad_hidden @ down)
            grad_bias = grad_mixed.flatten(0, -2).sum(0)
        grad_x += grad
        return grad_x.flatten(0, 1), None, *grads, None, grad_down, grad_kernel, grad_bias, grad_up


def _taps(kernel: Tensor) -> tuple[Tensor, ...]:
    """(A, A, 3, 1, 1) to the matrices (A, A) for the slice before, the slice itself and the slice after."""
    return kernel[:, :, :, 0, 0].unbind(dim=2)


def _convolve_slices(x: Tensor, before: Tensor, here: Tensor, after: Tensor) -> Tensor:
    """(B, D, G, G', A) to the same: a matrix product for each tap."""
    y = F.linear(x, here)
    if x.shape[1] > 1:
        y[:, 1:] += F.linear(x[:, :-1], before)
        y[:, :-1] += F.linear(x[:, 1:], after)
    return y


def _tap_grads(grad: Tensor, x: Tensor) -> list[Tensor]:
    return [_weight_grad(grad[:, 1:], x[:, :-1]), _weight_grad(grad, x), _weight_grad(grad[:, :-1], x[:, 1:])]


def _weight_grad(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient (out, in) of a linear map, from the gradient (…, out) of its result and its input (…, in)."""
    return grad.flatten(0, -2).t() @ x.flatten(0, -2)
