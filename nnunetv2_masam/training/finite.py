"""Find values that are not finite, in batches and in checkpoints before they are saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed

from nnunetv2_masam.files import shortened


def damaged_cases(batch: Mapping[str, Any]) -> list[str]:
    """The cases of those samples of a batch whose data is not finite."""
    return [str(key) for key, data in zip(batch["keys"], batch["data"], strict=True) if not data.isfinite().all()]


def nonfinite_tensors(state_dict: Mapping[str, Any]) -> list[str]:
    """Names of the tensors that hold values that are not finite."""
    tensors = {n: t for n, t in state_dict.items() if isinstance(t, torch.Tensor) and t.is_floating_point()}
    if not tensors or torch.stack([t.isfinite().all() for t in tensors.values()]).all():  # one synchronisation
        return []
    return [name for name, tensor in tensors.items() if not tensor.isfinite().all()]


class SkippedSteps:
    """The steps of an epoch that were skipped, because their loss or gradient was not finite.

    Args:
        share: more of an epoch's steps than this, and at least three, are too many.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.start_epoch()

    def start_epoch(self) -> None:
        """Count anew."""
        self.number = 0
        self.damaged: Counter[str] = Counter()
        self.others: Counter[str] = Counter()

    def note(self, batch: Mapping[str, Any], loss: float, steps: int) -> str:
        """Count a step of an epoch of ``steps``; all ranks call this together.

        Returns:
            a line for the log, with the cases of the batch.

        Raises:
            ValueError: too many steps were skipped.
        """
        damaged, keys = of_all_ranks([damaged_cases(batch), [str(key) for key in batch["keys"]]])
        self.number += 1
        self.damaged.update(damaged)
        self.others.update(keys)
        if self.number > max(2, self.share * steps):
            raise ValueError(self.reason(steps))
        which = f"data that is not finite in {shortened(damaged)}" if damaged else f"cases {shortened(keys)}"
        return f"Skipped a step, the {self.number}. of this epoch: loss {loss:g} or its gradient is not finite; {which}"

    def reason(self, steps: int) -> str:
        """Explain why a training whose steps are skipped stops, and what to do."""
        head = (
            f"{self.number} of the epoch's {steps} steps were skipped, because their loss or gradient was not finite. "
            "Checkpoints of earlier epochs are good, and --c continues from them. "
        )
        if self.damaged:
            return head + (
                f"The preprocessed data of {shortened(sorted(self.damaged))} holds values that are not finite. Repair "
                "the images and preprocess again, or leave these cases out of the splits"
            )
        return head + (
            f"The data of these steps is finite (cases {shortened(sorted(self.others))}), so the training diverges: "
            "lower the learning rate (base_lr of the trainer), or start again from other weights"
        )


def of_all_ranks(lists: list[list[str]]) -> list[list[str]]:
    """Each of the lists with the names of all ranks, sorted."""
    gathered = [lists]
    if distributed.is_initialized():
        gathered = [[] for _ in range(distributed.get_world_size())]
        distributed.all_gather_object(gathered, lists)
    return [sorted({name for rank in gathered for name in rank[index]}) for index in range(len(lists))]
