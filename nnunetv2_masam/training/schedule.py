"""The learning-rate rule of MA-SAM: linear warm-up, then polynomial decay, counted in steps."""

from __future__ import annotations

import torch


def warmup_poly_lr(step: int, base_lr: float, warmup_steps: int, total_steps: int, exponent: float) -> float:
    """Learning rate at ``step``, counted from 0.

    During warm-up base_lr·(step + 1)/warmup_steps, then base_lr·(1 − t/total_steps)^exponent with t counted from the
    end of the warm-up. Source: the MA-SAM authors' ``trainer.py``.
    """
    if step < warmup_steps:
        return base_lr * (step + 1) / warmup_steps
    return base_lr * max(0.0, 1.0 - (step - warmup_steps) / total_steps) ** exponent


class WarmupPolySchedule:
    """Sets an optimiser's learning rate from the number of steps taken; has no state of its own.

    Args:
        total_steps: steps after which the rate would be zero; training may end before.
        steps_per_epoch: what nnU-Net calls an epoch, in steps.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        base_lr: float,
        *,
        warmup_steps: int,
        total_steps: int,
        exponent: float,
        steps_per_epoch: int,
    ) -> None:
        self.optimizer = optimizer
        self.base_lr = base_lr
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.exponent = exponent
        self.steps_per_epoch = steps_per_epoch

    def step(self, epoch: int) -> None:
        """Set the rate for the first step of ``epoch``, as nnU-Net asks for at the start of each."""
        self.set_step(epoch * self.steps_per_epoch)

    def set_step(self, step: int) -> None:
        """Set the rate for the step that follows ``step`` earlier ones.

        The authors apply the rule after a step, to the next one: step n runs at the rule's value for n − 1.
        """
        rate = warmup_poly_lr(max(step - 1, 0), self.base_lr, self.warmup_steps, self.total_steps, self.exponent)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
