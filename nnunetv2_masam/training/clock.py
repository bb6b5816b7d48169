"""Measure how long a training waits for data, and how long it computes."""

from __future__ import annotations

import time
from collections.abc import Callable

WAITING_LIMITS = 0.1  # share of the time from which more data workers are worth a thought


class StepClock:
    """Splits the time of an epoch's steps, by the computer's clock alone: it never waits for a GPU.

    A step ends by reading its loss from the GPU, so what comes after it is waiting, but for the optimizer's last
    kernels, which run meanwhile.

    Args:
        now: the clock, in seconds.

    Attributes:
        waiting_s: seconds between the steps, in which the next batch is waited for.
        computing_s: seconds within the steps.
        steps: how many there were.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.start_epoch()

    def start_epoch(self) -> None:
        """Start anew, with waiting for the first batch."""
        self.waiting_s = self.computing_s = 0.0
        self.steps = 0
        self._mark = self._now()

    def step_begins(self) -> None:
        """Count the time since the last call as waiting: the batch has arrived."""
        self.waiting_s += self._lap()

    def step_ends(self) -> None:
        """Count the time since the last call as computing: the step has ended."""
        self.computing_s += self._lap()
        self.steps += 1

    def _lap(self) -> float:
        before, self._mark = self._mark, self._now()
        return self._mark - before

    def __str__(self) -> str:
        total_s = self.waiting_s + self.computing_s
        if not self.steps or total_s <= 0:
            return "no steps were measured"
        waiting, computing = self.waiting_s / self.steps, self.computing_s / self.steps
        share = self.waiting_s / total_s
        return (
            f"{self.steps} steps: waiting for data {self.waiting_s:.1f} s ({waiting:.3f} s a step, {share:.0%}), "
            f"computing {self.computing_s:.1f} s ({computing:.3f} s a step, {1 - share:.0%}). {self._limit(share)}"
        )

    def _limit(self, share: float) -> str:
        """What to do about the data, if anything."""
        if share < WAITING_LIMITS:
            return "The network limits this training, not the data"
        return (
            "Loading and augmenting the data limits this training: give it more processes (nnUNet_n_proc_DA) where "
            "there are idle CPU cores, or smaller images (nnUNetv2_masam plan --explain says if they are too large)"
        )
