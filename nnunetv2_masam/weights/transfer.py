"""One HTTP download that ends: within the file's size, within a total time, by one process at a time."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import filelock
import pooch

from nnunetv2_masam.weights.published import PublishedCheckpoint

MAX_BYTES = 4 << 30  # of a file whose size is not known; the largest known one has 2.6 GB
# Client errors after which a second try may succeed: request timeout, too early, too many requests.
_TRANSIENT_STATUS = (408, 425, 429)
_logger = logging.getLogger("nnunetv2_masam")


class TooLongError(Exception):
    """A body that goes on after the file's size; no error after which pooch tries again."""


class BoundedDownloader:
    """Pooch's HTTP download within the file's size and a total time; missing files are not asked for again.

    A file of unknown size may have up to :data:`MAX_BYTES`.
    """

    def __init__(self, known: PublishedCheckpoint, timeout_s: float, longest_s: float) -> None:
        self.bytes = known.bytes if known.member is None else None
        self.longest_s = longest_s
        self.deadline = time.monotonic() + longest_s
        self.http = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=1 << 16,
            timeout=timeout_s,
            headers={"Accept-Encoding": "identity"},
        )

    def __call__(self, url: str, output_file: str, fetcher: Any) -> None:
        import requests  # slow to import, and needed for downloads only

        try:
            with open(output_file, "wb") as file:
                bounded = _BoundedFile(file, MAX_BYTES if self.bytes is None else self.bytes)
                self._within_time(lambda: self.http(url, bounded, fetcher))
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            if 400 <= status < 500 and status not in _TRANSIENT_STATUS:
                raise FileNotFoundError(f"{url} could not be downloaded: {error}") from error
            raise
        except requests.exceptions.InvalidSchema as error:  # also a ValueError, after which pooch would try again
            raise FileNotFoundError(_schema_message(url, str(error))) from error
        size = Path(output_file).stat().st_size
        if self.bytes is not None and size != self.bytes:
            raise ValueError(f"{size} bytes instead of {self.bytes}")

    def _within_time(self, download: Callable[[], None]) -> None:
        """Run ``download`` until the deadline; no time-out of a socket ends a server that trickles."""
        failures: list[BaseException] = []

        def run() -> None:
            try:
                download()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, name="download", daemon=True)  # ends with its next write
        thread.start()
        thread.join(max(0.0, self.deadline - time.monotonic()))
        if thread.is_alive():
            raise TimeoutError(f"not finished after {self.longest_s:.3g} s; fetch the file by other means")
        if failures:
            raise failures[0]


class _BoundedFile:
    """A file that refuses to grow beyond ``limit`` bytes."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file = file
        self.limit = limit
        self.written = 0

    def write(self, piece: bytes) -> int:
        """Write, unless the file would become too long."""
        self.written += len(piece)
        if self.written > self.limit:
            raise TooLongError(f"more than {self.limit} bytes, the most that this file may have")
        return self.file.write(piece)

    def flush(self) -> None:
        """As pooch does after each piece."""
        self.file.flush()


def unpack_member(archive: Path, name: str) -> Path:
    """The file called ``name`` in a zip archive, unpacked beside it.

    Raises:
        ValueError: the archive is damaged, does not hold exactly one such file, or the file is too large.
    """
    unpacked = archive.with_name("unpacked")
    try:
        with zipfile.ZipFile(archive) as opened:
            found = [info for info in opened.infolist() if info.filename.rsplit("/", 1)[-1] == name]
            if len(found) != 1:
                raise ValueError(f"an archive with {len(found)} files called {name}, expected one")
            with opened.open(found[0]) as source, open(unpacked, "wb") as target:
                shutil.copyfileobj(source, _BoundedFile(target, MAX_BYTES), 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"an archive that cannot be unpacked ({error})") from error
    return unpacked


def _schema_message(url: str, reason: str) -> str:
    if "SOCKS" in reason:
        names = [name for name in os.environ if name.lower() in ("all_proxy", "https_proxy", "http_proxy")]
        return (
            f"{url} could not be downloaded: {', '.join(names) or 'the system'} names a SOCKS proxy, for which the "
            "package PySocks is missing. Run `pip install 'requests[socks]'`, or name an HTTP proxy"
        )
    return (
        f"{url} could not be downloaded: it is redirected to an address that is neither http nor https ({reason}). "
        "A proxy or a login page probably stands between: fetch the file elsewhere"
    )


@contextmanager
def locked(path: Path, longest_s: float) -> Iterator[None]:
    """Hold a lock between processes; the operating system frees it when its holder dies."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        _logger.warning("Waiting for another process that downloads to %s …", path.parent)
        try:
            lock.acquire(timeout=longest_s)
        except filelock.Timeout as error:
            raise TimeoutError(
                f"another process has held {path} for {longest_s:.3g} s; end it and try again"
            ) from error
    try:
        yield
    finally:
        lock.release()
