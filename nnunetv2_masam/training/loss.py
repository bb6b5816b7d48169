"""The MA-SAM authors' loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMOOTH = 1e-5


class MASAMLoss(nn.Module):
    """0.2·cross-entropy + 0.8·Dice on the softmax, Dice with squared denominators and background included.

    Sums run over the whole batch. Source: the authors' ``trainer.py`` and ``utils.py``.

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
        cross_entropy = F.cross_entropy(logits, labels, ignore_index=self.ignore_index)
        probabilities = logits.softmax(dim=1)
        truth = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
        truth.scatter_(1, labels.clamp(0, logits.shape[1] - 1)[:, None], True)
        if self.ignore_index >= 0:
            counted = (labels != self.ignore_index)[:, None]
            probabilities, truth = probabilities * counted, truth & counted
        axes = [0, *range(2, logits.ndim)]
        overlap = (probabilities * truth).sum(axes)
        sizes = probabilities.square().sum(axes) + truth.sum(axes)
        return cross_entropy, (1 - (2 * overlap + _SMOOTH) / (sizes + _SMOOTH)).mean()
