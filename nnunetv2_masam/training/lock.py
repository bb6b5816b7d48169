"""Lock a fold, so that only one process trains it."""

from __future__ import annotations

import os
import socket
from datetime import datetime
from pathlib import Path

import filelock

from nnunetv2_masam.files import is_alive, read_json, write_json

LOCK_NAME, OWNER_NAME = ".in_use.lock", ".in_use.json"


class FoldInUse(ValueError):
    """Another process trains or validates the fold."""


_held: dict[Path, filelock.BaseFileLock] = {}  # by this process


class FoldLock:
    """A process's lock on a fold's folder, which the operating system releases when the process dies.

    Args:
        folder: nnU-Net's ``fold_X``, which has to exist.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).resolve()

    def acquire(self) -> None:
        """Take the lock, or do nothing if this process holds it already.

        Raises:
            FoldInUse: another process holds it; the message names its host and process.
        """
        if self.folder in _held:
            return  # a trainer that was interrupted, in a notebook for example, does not block the next one
        lock = self._new()
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            owner = self.owner()
            if owner is None or owner["host"] != socket.gethostname() or is_alive(owner["process"]):
                raise FoldInUse(self._refusal(owner)) from None
            # data loading workers inherit the lock, and outlive a trainer that was killed
            (self.folder / LOCK_NAME).unlink(missing_ok=True)
            lock = self._new()
            lock.acquire(timeout=0)
        except NotImplementedError:
            return  # the file system has no locks
        _held[self.folder] = lock
        since = datetime.now().isoformat(sep=" ", timespec="seconds")
        write_json(self.folder / OWNER_NAME, {"host": socket.gethostname(), "process": os.getpid(), "since": since})

    def release(self) -> None:
        """Release the lock if this process holds it."""
        if lock := _held.pop(self.folder, None):
            (self.folder / OWNER_NAME).unlink(missing_ok=True)
            lock.release()

    def owner(self) -> dict | None:
        """Host, process and start of the last owner; None if the lock was released."""
        try:
            owner = read_json(self.folder / OWNER_NAME, dict)
        except ValueError:
            return None
        return owner if owner.keys() >= {"host", "process", "since"} else None

    def _new(self) -> filelock.BaseFileLock:
        return filelock.FileLock(self.folder / LOCK_NAME)

    def _refusal(self, owner: dict | None) -> str:
        who = "another process"
        if owner is not None:
            who = f"process {owner['process']} on {owner['host']} since {owner['since']}"
        return (
            f"{self.folder}: this fold is being trained or validated by {who}. Wait until it ends or stop it; to train "
            "the fold again beside it, set nnUNet_results to another folder"
        )
