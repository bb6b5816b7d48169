"""Where SAM weights lie, and fetching them once, whole and verified.

Order of search: ``MASAM_CHECKPOINT`` (a file or a folder), the cache (``MASAM_CACHE``, else the platform's
cache folder), then a download unless ``MASAM_OFFLINE`` is set.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pooch

from nnunetv2_masam.files import cache_folder, env_flag
from nnunetv2_masam.weights.catalogue import CHECKPOINTS, DEFAULT_FOR_VIT, KnownCheckpoint
from nnunetv2_masam.weights.formats import recognise_file
from nnunetv2_masam.weights.safe_read import CheckpointError, bad_file, require_regular_file, weights_files
from nnunetv2_masam.weights.transfer import BoundedDownloader, TooLongError, locked

_SLOWEST = 100_000  # bytes a second that a download must reach on average, not counting its first ten minutes
_START_S = 600.0
_logger = logging.getLogger("nnunetv2_masam")


def is_offline() -> bool:
    """Whether ``MASAM_OFFLINE`` forbids downloads."""
    return env_flag("MASAM_OFFLINE")


def find_sam_checkpoint(vit: str) -> Path | None:
    """The SAM checkpoint to use for a ViT, or None where there is none yet.

    A file named by ``MASAM_CHECKPOINT`` is taken whatever its name. In a folder named by it, the files known
    by name come first (official before others), then the only file whose shapes are those of this ViT; where
    there is none, a warning is logged and the search goes on in the cache.

    Args:
        vit: a preset name, e.g. ``vit_b``.

    Raises:
        FileNotFoundError: ``MASAM_CHECKPOINT`` names something that does not exist.
        CheckpointError: a file with a known name has the wrong size, or several files fit.
    """
    named = os.environ.get("MASAM_CHECKPOINT")
    if named:
        path = Path(named).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"MASAM_CHECKPOINT names {path}, which does not exist. Correct or unset it.")
        if not path.is_dir():
            require_regular_file(path)
        found = _find_in_folder(path, vit) if path.is_dir() else path
        if found is not None:
            return found
    known = _default_for(vit)
    return None if known is None else find_known(known, cache_folder())


def resolve_sam_checkpoint(vit: str) -> Path:
    """The SAM checkpoint to use for a ViT, downloaded if need be.

    Raises:
        FileNotFoundError: there is none and it cannot be downloaded; the message says how to get it.
        CheckpointError: a file that would be used is not what its name says.
    """
    found = find_sam_checkpoint(vit)
    if found is not None:
        return found
    known = _default_for(vit)
    if known is None:
        named = os.environ.get("MASAM_CHECKPOINT") or "not set"
        raise FileNotFoundError(
            f"no SAM weights for {vit}: MASAM_CHECKPOINT is {named}, and only {', '.join(DEFAULT_FOR_VIT)} "
            f"can be downloaded. Set MASAM_CHECKPOINT to a file for {vit}."
        )
    if is_offline():
        raise FileNotFoundError(how_to_get(known, "MASAM_OFFLINE is set, so nothing is downloaded."))
    try:
        return download_checkpoint(known, cache_folder())
    except FileNotFoundError as error:
        raise FileNotFoundError(how_to_get(known, str(error))) from error


def how_to_get(known: KnownCheckpoint, reason: str) -> str:
    """What was looked for and where, why it is not there, and how to get it, offline clusters included."""
    named = os.environ.get("MASAM_CHECKPOINT")
    looked = f"folder {named}: no weights for {known.vit} in it" if named else "not set"
    return (
        f"no SAM weights for {known.vit}. {reason}\n"
        f"Looked at:\n"
        f"  MASAM_CHECKPOINT: {looked}\n"
        f"  cache: {cache_folder() / known.file_name}: not there\n"
        f"Needed:\n"
        f"  {known.file_name}, {known.bytes} bytes, {known.licence}\n"
        f"  sha256 {known.sha256}\n"
        f"  {known.url}\n"
        f"Without internet here: elsewhere, run `nnUNetv2_masam weights download {known.name} --to .` or "
        f"fetch the address above;\n"
        f"then copy {known.file_name} into {cache_folder()}, or set MASAM_CHECKPOINT to it."
    )


def find_known(known: KnownCheckpoint, folder: Path) -> Path | None:
    """A known checkpoint in a folder, by name and size (its hash is compared when it is downloaded)."""
    path = folder / known.file_name
    if not path.is_file():
        return None
    size = path.stat().st_size
    if size != known.bytes:
        remedy = "It is not used. Delete or replace it; to use it as it is, set MASAM_CHECKPOINT to it."
        raise bad_file(path, f"{size} bytes", f"{known.bytes} bytes", remedy)
    return path


def download_checkpoint(
    known: KnownCheckpoint,
    folder: Path,
    *,
    retries: int = 2,
    timeout_s: float = 60.0,
    total_s: float | None = None,
    progress: bool | None = None,
) -> Path:
    """Fetch a checkpoint into a folder unless it is there; processes that ask together fetch it once.

    The file appears under its name when it is whole and its hash is right. A broken download starts again;
    nothing of it is kept.

    Args:
        retries: further tries after a broken connection or a wrong hash.
        timeout_s: longest wait for the server, for each answer rather than for the whole file.
        total_s: longest time for the whole file with all tries, and longest wait for another process that downloads
            it; by default ten minutes and what the file takes at 100 kB/s.
        progress: show a progress bar; by default where stderr is a terminal.

    Raises:
        FileNotFoundError: the server or the folder cannot be reached, or the file is not on the server.
        CheckpointError: what the server sends is not the file, or a wrong one is in the folder already.
    """
    if found := find_known(known, folder):
        return found
    longest_s = _START_S + known.bytes / _SLOWEST if total_s is None else total_s
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{known.file_name}.lock", longest_s):
            found = find_known(known, folder)  # by a process that held the lock before
            return found or _fetch(known, folder, retries, BoundedDownloader(known, timeout_s, longest_s, progress))
    except FileNotFoundError:
        raise
    # requests' errors are OSErrors as well; filelock raises NotImplementedError where the file system has no locks
    except (OSError, NotImplementedError) as error:
        raise FileNotFoundError(f"{known.url} could not be downloaded to {folder}: {error}") from error


def _fetch(known: KnownCheckpoint, folder: Path, retries: int, downloader: BoundedDownloader) -> Path:
    """Download under the lock: into a folder of its own, whose leftovers of killed processes go first."""
    partial = folder / f".partial-{known.file_name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        if shutil.disk_usage(folder).free < known.bytes:
            raise OSError(f"{known.bytes} bytes are needed, {shutil.disk_usage(folder).free} are free")
        registry = {known.file_name: f"sha256:{known.sha256}"}
        fetcher = pooch.create(
            path=partial,
            base_url="",
            registry=registry,
            urls={known.file_name: known.url},
            retry_if_failed=retries,
        )
        whole = Path(fetcher.fetch(known.file_name, downloader=downloader))
        # Pooch's temporary files are for their owner only; a shared cache is for everyone whom the umask lets in.
        ordinary = partial / "ordinary"
        ordinary.touch()
        whole.chmod(ordinary.stat().st_mode)
        whole.replace(folder / known.file_name)
    except (ValueError, TooLongError) as error:
        remedy = "Nothing was kept. Try again, or see whether a proxy stands between."
        raise bad_file(Path(known.file_name), f"from {known.url}: {error}", known.sha256, remedy) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / known.file_name


def _default_for(vit: str) -> KnownCheckpoint | None:
    name = DEFAULT_FOR_VIT.get(vit)
    return None if name is None else CHECKPOINTS[name]


def _find_in_folder(folder: Path, vit: str) -> Path | None:
    default = _default_for(vit)
    others = [known for known in CHECKPOINTS.values() if known.vit == vit and known != default]
    for known in ([default] if default else []) + others:
        if found := find_known(known, folder):
            return found
    recognised = {path: _recognise(path) for path in weights_files(folder)}
    fitting = [path for path, what in recognised.items() if what == vit]
    if len(fitting) > 1:
        names = ", ".join(path.name for path in fitting)
        remedy = "Set MASAM_CHECKPOINT to the one that is meant."
        raise bad_file(folder, f"{len(fitting)} files for {vit} ({names})", "one", remedy)
    if fitting:
        return fitting[0]
    listing = "".join(f"\n  {path.name}: {what}" for path, what in recognised.items())
    _logger.warning("MASAM_CHECKPOINT=%s holds no weights for %s.%s", folder, vit, listing)
    return None


def _recognise(path: Path) -> str:
    """The ViT of a file, or why it has none: other files may lie in the folder."""
    try:
        return str(recognise_file(path))
    except CheckpointError as error:
        return str(error)
