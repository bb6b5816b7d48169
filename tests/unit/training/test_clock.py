"""The split of an epoch's time, by a clock of ours."""

from __future__ import annotations

import pytest

from nnunetv2_masam.training.clock import StepClock


def test_waiting_and_computing_are_told_apart():
    times = iter([0.0, 100.0, 103.0, 104.0, 105.0, 108.0])
    clock = StepClock(lambda: next(times))
    assert str(clock) == "no steps were measured"
    clock.start_epoch()
    for _ in range(2):
        clock.step_begins()
        clock.step_ends()
    assert str(clock).startswith(
        "2 steps: waiting for data 4.0 s (2.000 s a step, 50%), computing 4.0 s (2.000 s a step, 50%)."
    )


@pytest.mark.parametrize(
    ("waiting_s", "said"), [(0.5, "The network limits this training"), (9.5, "data limits this training: give it more")]
)
def test_the_log_says_what_limits_the_training(waiting_s, said):
    times = iter([0.0, waiting_s, 10.0])
    clock = StepClock(lambda: next(times))
    clock.step_begins()
    clock.step_ends()
    assert said in str(clock)
