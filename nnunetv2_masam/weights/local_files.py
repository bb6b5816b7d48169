"""Known checkpoints that are on this machine: in a folder, in the cache, or in an installed package."""

from __future__ import annotations

from pathlib import Path

from nnunetv2_masam.files import cache_folder, sha256_of
from nnunetv2_masam.weights.installed import find_installed
from nnunetv2_masam.weights.provenance import read_record
from nnunetv2_masam.weights.published import PublishedCheckpoint
from nnunetv2_masam.weights.weight_files import bad_file


def find_local(known: PublishedCheckpoint) -> Path | None:
    """A known checkpoint in the cache, or else in its package.

    Raises:
        CheckpointError: a file is there, and it is not the one.
    """
    return find_known(known, cache_folder()) or find_installed(known)


def find_known(known: PublishedCheckpoint, folder: Path) -> Path | None:
    """A known checkpoint in a folder, by name and size.

    The hash is compared when it is downloaded; here, with what was recorded then, where a URL comes with one.

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
    if known.vit is None and known.sha256 is not None:
        sha256 = (read_record(path) or {}).get("sha256") or sha256_of(path)
        if sha256 != known.sha256:
            raise bad_file(path, f"sha256 {sha256}", known.sha256, remedy)
    return path
