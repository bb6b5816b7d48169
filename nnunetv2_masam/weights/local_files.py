"""Known checkpoints that are on this machine: in a folder, in the cache, or in an installed package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from nnunetv2_masam.files import cache_folder, sha256_of
from nnunetv2_masam.weights.published import PublishedCheckpoint
from nnunetv2_masam.weights.weight_files import bad_file


def find_local(known: PublishedCheckpoint) -> Path | None:
    """A known checkpoint in the cache, or else in its package.

    Raises:
        CheckpointError: a file is there, and it is not the one.
    """
    return find_known(known, cache_folder()) or find_installed(known)


def find_known(known: PublishedCheckpoint, folder: Path) -> Path | None:
    """A known checkpoint in a folder, by name and size; its sha256 is compared when a training starts.

    Raises:
        CheckpointError: there is a file of the name, and it is not the one.
    """
    path = folder / known.file_name
    if not path.is_file():
        return None
    remedy = "It is not used. Delete or replace it; to use it as it is, set MASAM_CHECKPOINT to it."
    size = path.stat().st_size
    if known.bytes is not None and size != known.bytes:
        raise bad_file(path, f"{size} bytes", f"{known.bytes} bytes", remedy)
    return path


def find_installed(known: PublishedCheckpoint) -> Path | None:
    """A known checkpoint in its installed package, by size and sha256. The package is not imported.

    Raises:
        CheckpointError: the package holds another file.
    """
    if known.package is None:
        return None
    try:
        path = Path(str(metadata.distribution(known.package).locate_file(known.package_file)))
    except metadata.PackageNotFoundError:
        return None
    if not path.is_file():
        return None
    sha256 = sha256_of(path)
    if sha256 != known.sha256:
        remedy = f"Install it again: {known.origin} --force-reinstall --no-deps."
        raise bad_file(path, f"{path.stat().st_size} bytes with sha256 {sha256}", str(known.sha256), remedy)
    return path


def package_of(path: Path, known: PublishedCheckpoint) -> str | None:
    """Name and version of the package that a known checkpoint's file lies in, if it lies in one."""
    if known.package is None or find_installed(known) != path:
        return None
    return f"{known.package} {metadata.version(known.package)}"
