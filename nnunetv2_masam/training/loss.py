"""The MA-SAM authors' loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_SMOOTH = 1e-5


class MASAMLoss(nn.Module):
    """0.2·cross-entropy + 0.8·Dice on the softmax, Dice with squared denominators and background included.

    Sums run over the whole batch, and are formed slice by slice and again in the backward pass: in one go they would
    take ten times the memory of the logits. Source: the authors' ``trainer.py`` and ``utils.py``.

    Args:
        dice_weight: weight of the Dice term; cross-entropy has the rest.
        ignore_label: voxels with this label count in neither term; None if there is none.
    """

    def __init__(self, dice_weight: float = 0.8, ignore_label: int | None = None) -> None:
        super().__init__()
        self.dice_weight = dice_weight
        self.ignore_index = -100 if ignore_label is None else ignore_label

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss, a scalar, of logits (B, K, …) and labels (B, 1, …)."""
        labels = target[:, 0].long()
        cross_entropy, dice = self.terms(logits, labels)
        return (1 - self.dice_weight) * cross_entropy + self.dice_weight * dice

    def terms(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cross-entropy and Dice loss of logits (B, K, …) and labels (B, …)."""
        cross_entropy, overlap, sizes = _Sums.apply(logits, labels[:, None], self.ignore_index)
        counted = (labels != self.ignore_index).sum().clamp(min=1)  # a patch may have no annotated voxel
        return cross_entropy / counted, (1 - (2 * overlap + _SMOOTH) / (sizes + _SMOOTH)).mean()


class _Sums(torch.autograd.Function):
    """Sum of the cross-entropy, and for each class Σ p·t and Σ p² + Σ t², over voxels that count.

    Slice by slice, with the gradient written out, because what stock functions store takes several times the memory of
    the logits. Of the gradients c, a and b of the three sums, the logits get s − p·Σs + c·(p − t), s = p·(2·b·p + a·t).
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, ...]:
        """Logits (B, K, …) and labels (B, 1, …) to a scalar, (K,) and (K,)."""
        ctx.save_for_backward(logits, labels)
        ctx.ignore_index = ignore_index
        cross_entropy = logits.new_zeros(())
        # in float32, index_add_ loses voxels beyond 2²⁴
        overlap, sizes = (logits.new_zeros(logits.shape[1], dtype=torch.float64) for _ in range(2))
        for part, truth in zip(_slices(logits), _slices(labels), strict=True):
            classes, counted = _counted(truth, ignore_index, logits.dtype)
            log_probabilities = part.log_softmax(dim=1)
            log_of_truth = log_probabilities.gather(1, classes)  # (B, 1, …)
            squares = log_probabilities.mul_(2).exp_()
            cross_entropy -= (log_of_truth * counted).sum()
            sizes += squares.mul_(counted).transpose(0, 1).flatten(1).sum(dim=1)
            sizes.index_add_(0, classes.flatten(), counted.flatten().double())
            overlap.index_add_(0, classes.flatten(), (log_of_truth.exp() * counted).flatten().double())
        return cross_entropy, overlap.to(logits.dtype), sizes.to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, c: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, None, None]:
        logits, labels = ctx.saved_tensors
        twice_b = 2 * b.view(-1, *[1] * (logits.ndim - 2))
        grad_logits = torch.empty_like(logits)
        for part, truth, grad in zip(*map(_slices, (logits, labels, grad_logits)), strict=True):
            classes, counted = _counted(truth, ctx.ignore_index, logits.dtype)
            p = part.softmax(dim=1)
            s = (p * p).mul_(twice_b)
            s.scatter_add_(1, classes, a[classes] * p.gather(1, classes))
            p.mul_(c - s.sum(dim=1, keepdim=True))
            s.scatter_add_(1, classes, (-c).expand(classes.shape))
            grad.copy_(s.add_(p).mul_(counted))
        return grad_logits, None, None


def _slices(x: Tensor) -> tuple[Tensor, ...]:
    """(B, K, D, H, W) along D, which is long where logits take much memory; without D along B."""
    return x.split(1, dim=2 if x.ndim == 5 else 0)


def _counted(labels: Tensor, ignore_index: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Classes, 0 for voxels that do not count, and 1.0 for voxels that count, 0.0 for others."""
    counted = labels != ignore_index
    return labels.where(counted, 0), counted.to(dtype)
