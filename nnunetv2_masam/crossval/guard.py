"""Run a command that ends, with all processes that it has started, as soon as the calling process ends or is killed.

The guard is this file, run as a program. It starts the command in a process group of its own and reads its standard
input, a pipe from the process that wants the command: when that process is killed, the pipe ends, and the guard ends
the group. nnU-Net's workers, which wait for ever where only their parent is killed, belong to the group too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

GRACE_S = 10.0  # between asking the group to end and killing it


@contextmanager
def guarded(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command under guard; ``terminate`` of the process that is yielded ends the whole group.

    Args:
        command: the command.
        options: for ``subprocess.Popen``.
    """
    guard = [sys.executable, "-I", __file__, *command]
    with subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True, **options) as process:
        yield process


def main(command: Sequence[str]) -> int:
    """Run the command, and return its exit code; 128 and the signal's number where one has ended it."""
    asked: SimpleQueue[None] = SimpleQueue()  # a signal may interrupt its put
    signal.signal(signal.SIGTERM, lambda *_: asked.put(None))  # first: what has started can be ended
    threading.Thread(target=_wait_for_parent, args=(asked,), daemon=True).start()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_when_asked, args=(child, asked), daemon=True).start()
    code = child.wait()
    _send(child, "SIGKILL")  # workers whose parent was killed
    return code if code >= 0 else 128 - code


def _wait_for_parent(asked: SimpleQueue[None]) -> None:
    while os.read(0, 1):  # until the process that holds the other end is gone
        pass
    asked.put(None)


def _end_when_asked(child: subprocess.Popen[bytes], asked: SimpleQueue[None]) -> None:
    asked.get()
    _send(child, "SIGTERM")
    time.sleep(GRACE_S)
    _send(child, "SIGKILL")


def _send(child: subprocess.Popen[bytes], name: str) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in the group
            os.killpg(child.pid, getattr(signal, name))
    else:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
