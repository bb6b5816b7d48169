"""The MA-SAM authors' loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
        """Logits (B, K, …) and labels (B, 1, …), as nnU-Net gives them, to a scalar."""
        labels = target[:, 0].long()
        cross_entropy, dice = self.terms(logits, labels)
        return (1 - self.dice_weight) * cross_entropy + self.dice_weight * dice

    def terms(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and Dice loss of logits (B, K, …) and labels (B, …)."""
        cross_entropy, overlap, sizes = _Sums.apply(logits, labels[:, None], self.ignore_index)
        counted = (labels != self.ignore_index).sum()
        return cross_entropy / counted, (1 - (2 * overlap + _SMOOTH) / (sizes + _SMOOTH)).mean()


class _Sums(torch.autograd.Function):
    """:func:`_sums` over all slices; stores only the logits and labels."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, ...]:
        ctx.save_for_backward(logits, labels)
        ctx.ignore_index = ignore_index
        sums = [_sums(*part, ignore_index) for part in zip(_slices(logits), _slices(labels), strict=True)]
        return tuple(torch.stack(terms).sum(dim=0) for terms in zip(*sums, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        logits, labels = ctx.saved_tensors
        grad_logits = torch.empty_like(logits)
        for part, truth, target in zip(*map(_slices, (logits, labels, grad_logits)), strict=True):
            with torch.enable_grad():
                part = part.detach().requires_grad_()
                sums = _sums(part, truth, ctx.ignore_index)
            target.copy_(torch.autograd.grad(sums, part, grads)[0])
        return grad_logits, None, None


def _slices(x: Tensor) -> tuple[Tensor, ...]:
    """(B, K, D, H, W) along D, which is long where logits take much memory; without D along B."""
    return x.split(1, dim=2 if x.ndim == 5 else 0)


def _sums(logits: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of the cross-entropy, and for each class Σ p·t and Σ p² + Σ t², over voxels that count.

    Args:
        logits: (B, K, …).
        labels: (B, 1, …).
        ignore_index: label of voxels that do not count.
    """
    counted = labels != ignore_index
    labels = labels.where(counted, 0)
    log_probabilities = logits.log_softmax(dim=1)
    probabilities = log_probabilities.exp()
    squares = probabilities.square()
    if ignore_index >= 0:
        squares = squares * counted
    classes, weights = labels.flatten(), counted.flatten().to(logits.dtype)
    nothing = logits.new_zeros(logits.shape[1])
    cross_entropy = -(log_probabilities.gather(1, labels).flatten() * weights).sum()
    overlap = nothing.index_add(0, classes, probabilities.gather(1, labels).flatten() * weights)
    sizes = squares.sum([0, *range(2, logits.ndim)]) + nothing.index_add(0, classes, weights)
    return cross_entropy, overlap, sizes
