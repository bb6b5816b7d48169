"""No process outlives the one that started it, although that is killed and can do nothing about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from nnunetv2_masam.crossval.guard import __file__ as GUARD
from nnunetv2_masam.datasets.raw_dataset import _map
from nnunetv2_masam.files import is_alive
from nnunetv2_masam.processes import torch_threads, usable_cpus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

CONVERTERS = """
import multiprocessing, threading, time

def say():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.05)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)

if __name__ == "__main__":
    from nnunetv2_masam.datasets.raw_dataset import _map
    threading.Thread(target=say, daemon=True).start()
    _map(time.sleep, [600, 600], 2)
"""

# a job of crossval that has started a worker, as nnU-Net's training does
CROSSVAL = """
import sys
from nnunetv2_masam.crossval.guard import guarded
code = "import subprocess, sys, time, os;"
code += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
code += "print(os.getpid(), child.pid, flush=True); time.sleep(600)"
with guarded([sys.executable, "-c", code]) as process:
    print(process.pid, flush=True)
    process.wait()
"""


def lasts(process: int, at_most_s: float = 30.0) -> bool:
    """Whether a process is still there after a while; one that waits for its parent's attention is not."""
    end = time.monotonic() + at_most_s
    while time.monotonic() < end:
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
        if not is_alive(process) or state.stdout.startswith("Z") or not state.stdout.strip():
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize(("script", "count", "lines"), [(CONVERTERS, 2, 1), (CROSSVAL, 3, 2)])
def test_killed(tmp_path, script, count, lines):
    (tmp_path / "script.py").write_text(script)
    with subprocess.Popen([sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, text=True) as parent:
        found = [int(word) for _ in range(lines) for word in parent.stdout.readline().split()]
        assert len(found) == count
        assert all(map(is_alive, found))
        parent.kill()
    assert [process for process in found if lasts(process)] == []


def guard(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", GUARD, sys.executable, "-c", code]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_exit_code_is_the_command_s():
    with guard("import sys; sys.exit(3)") as process:
        assert process.wait() == 3
    with guard("import os; os.kill(os.getpid(), 9)") as process:
        assert process.wait() == 128 + signal.SIGKILL


def test_workers_of_a_command_that_was_killed_end_with_it():
    worker = "import subprocess, sys; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True)"
    with guard(f"{worker}; import os; os.kill(os.getpid(), 9)") as process:
        (worker_id,) = map(int, process.stdout.readline().split())
        process.wait()
    assert not lasts(worker_id)


def test_terminating_the_guard_ends_the_command():
    with guard("import os, time; print(os.getpid(), flush=True); time.sleep(600)") as process:
        command = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
    assert not lasts(command)


EARLY = """
import os, runpy, signal, subprocess
start = subprocess.Popen

def start_and_be_asked(*args, **options):
    child = start(*args, **options)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)  # before anything can be done about the child
    return child

subprocess.Popen = start_and_be_asked
"""


def test_a_guard_that_is_terminated_while_it_starts_the_command_ends_it(tmp_path):
    (tmp_path / "early.py").write_text(f"{EARLY}\nrunpy.run_path({GUARD!r}, run_name='__main__')")
    words = [sys.executable, tmp_path / "early.py", sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        command = int(process.stdout.readline())
        assert process.wait() == 128 + signal.SIGTERM
    assert not lasts(command)


def test_a_worker_that_was_killed_is_said():
    with pytest.raises(ValueError, match=r"a converting process was killed, .* -np 1"):
        _map(_kill_oneself, [1, 2], 2)


def _kill_oneself(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_cpus_are_those_of_the_process_and_threads_follow_the_environment(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= usable_cpus() == torch_threads() <= os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            assert usable_cpus() == torch_threads() == 1
        finally:
            os.sched_setaffinity(0, before)
    for value, threads in (("3", 3), ("2,1", 2), ("0", usable_cpus()), ("all", usable_cpus())):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert torch_threads() == threads
