"""The CPUs that this process may use, and workers that end when the process that started them ends or is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait


def usable_cpus() -> int:
    """CPUs that the system lets this process run on: in a job of a cluster, fewer than :func:`os.cpu_count` counts."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_threads() -> int:
    """Threads for torch on a CPU: ``OMP_NUM_THREADS`` where it is set, else one for each usable CPU."""
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(threads) if threads.isdecimal() and int(threads) else usable_cpus()


def start_worker() -> None:
    """Initialise a worker of a pool, for ``ProcessPoolExecutor(initializer=start_worker)``.

    The worker leaves Ctrl-C to its parent. When the parent is killed, which leaves workers waiting for work for ever,
    the worker ends too. The pool has to start its workers by ``spawn``: forked ones keep each other's pipes open.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
