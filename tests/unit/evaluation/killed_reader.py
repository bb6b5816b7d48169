"""Readers for tests of the pool, imported by its workers: one kills its process, one waits."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO


class KilledReader(SimpleITKIO):
    """Dies when it reads ``killer.nii.gz``, once a file ``done`` lies beside it."""

    def read_seg(self, seg_fname: str) -> Any:
        if seg_fname.endswith("killer.nii.gz"):
            until = time.monotonic() + 60
            while not (Path(seg_fname).parent / "done").exists() and time.monotonic() < until:
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read_seg(seg_fname)


class WaitingReader(SimpleITKIO):
    """Leaves its process's number beside the file as ``N.pid``, and waits."""

    def read_seg(self, seg_fname: str) -> Any:
        (Path(seg_fname).parent / f"{os.getpid()}.pid").touch()
        time.sleep(300)
        return super().read_seg(seg_fname)
