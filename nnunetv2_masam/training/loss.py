"""The MA-SAM authors' loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

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
        axis = 2 if logits.ndim == 5 else 0  # slices, which are many where logits take much memory
        parts = [
            checkpoint(self._sums, part, truth, use_reentrant=False, preserve_rng_state=False)
            for part, truth in zip(logits.split(1, axis), labels.split(1, max(0, axis - 1)), strict=True)
        ]
        cross_entropy, overlap, sizes = (sum(terms) for terms in zip(*parts, strict=True))
        counted = (labels != self.ignore_index).sum()
        return cross_entropy / counted, (1 - (2 * overlap + _SMOOTH) / (sizes + _SMOOTH)).mean()

    def _sums(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of the cross-entropy, and for each class Σ p·t and Σ p² + Σ t², over voxels that count."""
        cross_entropy = F.cross_entropy(logits, labels, ignore_index=self.ignore_index, reduction="sum")
        probabilities = logits.softmax(dim=1)
        truth = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
        truth.scatter_(1, labels.clamp(0, logits.shape[1] - 1)[:, None], True)
        if self.ignore_index >= 0:
            counted = (labels != self.ignore_index)[:, None]
            probabilities, truth = probabilities * counted, truth & counted
        axes = [0, *range(2, logits.ndim)]
        overlap = (probabilities * truth).sum(axes)
        return cross_entropy, overlap, probabilities.square().sum(axes) + truth.sum(axes)
