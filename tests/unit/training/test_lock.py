"""A fold has one holder, who is named, and a holder that died holds nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from nnunetv2_masam.training.lock import LOCK_NAME, OWNER_NAME, FoldInUse, FoldLock
from tests.processes import held_elsewhere

# holds the lock in a process that forks a worker, and is killed; the worker lives on until its pipe is closed
KILLED = """
import os, signal, sys
from nnunetv2_masam.training.lock import FoldLock
lock = FoldLock(sys.argv[1])
lock.acquire()
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_second_process_is_refused_by_host_and_process(tmp_path):
    lock = FoldLock(tmp_path)
    with held_elsewhere(tmp_path) as process:
        with pytest.raises(FoldInUse, match=f"process {process} on {socket.gethostname()} since"):
            lock.acquire()
        lock.release()  # which it does not hold
        assert json.loads((tmp_path / OWNER_NAME).read_text())["process"] == process
        (tmp_path / OWNER_NAME).write_text("{")
        with pytest.raises(FoldInUse, match="by another process"):
            lock.acquire()
    lock.acquire()
    FoldLock(tmp_path).acquire()  # the same process
    assert json.loads((tmp_path / OWNER_NAME).read_text())["process"] == os.getpid()
    lock.release()
    assert not (tmp_path / OWNER_NAME).exists()
    with held_elsewhere(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")
def test_workers_of_a_killed_training_hold_nothing(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE)
    assert process.wait(timeout=60) == -signal.SIGKILL
    lock = FoldLock(tmp_path)
    lock.acquire()
    assert json.loads((tmp_path / OWNER_NAME).read_text())["process"] == os.getpid()
    lock.release()
    assert (tmp_path / LOCK_NAME).exists()
    process.stdin.close()
