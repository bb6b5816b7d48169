"""Worker processes that end when the process that started them ends or is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait


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
