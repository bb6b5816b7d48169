"""Known checkpoints that lie in an installed package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from nnunetv2_masam.files import sha256_of
from nnunetv2_masam.weights.published import PublishedCheckpoint
from nnunetv2_masam.weights.weight_files import bad_file


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
