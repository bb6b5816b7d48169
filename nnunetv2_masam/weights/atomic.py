"""Files that are either whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replaced_when_whole(path: str | Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; what was written there takes its place when the block ends without error.

    A process that dies meanwhile leaves ``path`` as it was, and a ``….partial`` that the next write overwrites. If
    nothing was written, nothing happens.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        if not partial.exists():
            return
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())  # otherwise the new name can survive a power cut and the content not
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
