"""Jobs on this machine: what an interruption does to them."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from nnunetv2_masam.crossval import jobs


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_interruption_ends_a_command_that_is_just_being_started(tmp_path, monkeypatch, error):
    first, second = jobs.make_jobs("D", "c", ["A", "B"], [0], results=tmp_path, logs=tmp_path)
    at_work, never, ended = threading.Event(), threading.Event(), threading.Event()

    def run_job(job, gpu, started):
        if job == first:
            assert at_work.wait(30)
            return 1
        at_work.set()
        never.wait(1)  # until the interruption is over
        started(SimpleNamespace(terminate=ended.set))
        return 1

    def report(line):
        if "failed" in line:
            raise error

    monkeypatch.setattr(jobs, "run_job", run_job)
    with pytest.raises(error):
        jobs.run_locally([first, second], ["0", "1"], report)
    assert ended.is_set()
