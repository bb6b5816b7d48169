"""Record the weights that a training started from: name, hash, licence and citation, for its log and checkpoints.

The sha256 of a file whose hash is not published is recorded at its first use, beside it in the cache, and compared at
every later use.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import cache_folder, read_json, sha256_of, write_json
from nnunetv2_masam.weights.local_files import package_of
from nnunetv2_masam.weights.published import PublishedCheckpoint, known_by_file_name, known_by_sha256
from nnunetv2_masam.weights.weight_files import bad_file, checkpoint_file, reading

KEY = "masam_weights"  # in the init_args of nnU-Net's checkpoints, which nnU-Net itself restores when it continues
_logger = logging.getLogger("nnunetv2_masam")


@dataclass(frozen=True)
class Provenance:
    """Origin of weights: file, hash, licence, citation.

    Attributes:
        file: name of the file.
        bytes: its size.
        sha256: its hash in hex.
        name: of the known checkpoint, or the URL; None for any other file.
        package: name and version of the installed package that the file lies in; None for other places.
        source, licence, citations, trained_on, url: as in
            :class:`~nnunetv2_masam.weights.published.PublishedCheckpoint`.
    """

    file: str
    bytes: int
    sha256: str
    name: str | None = None
    source: str = ""
    licence: str | None = None
    citations: tuple[str, ...] = ()
    trained_on: str | None = None
    url: str | None = None
    package: str | None = None

    def __str__(self) -> str:
        what = self.name or "not one of the known checkpoints"
        if self.source:
            what += f" ({self.source})"
        lines = [f"weights: {what}", f"  file {self.file}, {self.bytes} bytes, sha256 {self.sha256}"]
        lines += [f"  from the installed package {self.package}"] * bool(self.package)
        lines.append(f"  licence: {self.licence or 'not known, see where the file comes from'}")
        lines.append(f"  trained on: {self.trained_on or 'not known'}")
        return "\n".join(lines + [f"  please cite: {citation}" for citation in self.citations])

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, which every reader of checkpoints accepts."""
        return {**asdict(self), "citations": list(self.citations)}


def stored_provenance(checkpoint: Mapping[str, Any]) -> Provenance | None:
    """Origin of the weights that the training of an nnU-Net checkpoint started from, if it is recorded."""
    init_args = checkpoint.get("init_args")
    stored = init_args.get(KEY) if isinstance(init_args, Mapping) else None
    if not isinstance(stored, Mapping) or not {"file", "bytes", "sha256"} <= stored.keys():
        return None
    stored = {"trained_on": stored.get("seen"), **stored}  # its first name
    known = {field.name: stored[field.name] for field in fields(Provenance) if field.name in stored}
    return Provenance(**{**known, "citations": tuple(known.get("citations") or ())})


def identify(path: str | Path) -> Provenance:
    """Hash a weights file and look it up among the known ones.

    Args:
        path: the file, or a folder with one.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: a file in the cache is not the one of its name, or has changed since its first use.
    """
    path = checkpoint_file(path)
    with reading(path):
        sha256, size = sha256_of(path), path.stat().st_size
    known = known_by_sha256(sha256)
    recorded = read_record(path) if known is None else None
    if known is None and path.parent.resolve() == cache_folder().resolve():
        known = known_by_file_name(path.name)
        if known is not None and known.sha256 is not None:
            remedy = "It was changed: delete it and download it again (`nnUNetv2_masam weights download`)."
            raise bad_file(path, f"sha256 {sha256}", f"{known.sha256}, as the file of this name has", remedy)
        if known is not None or recorded is not None:
            check_record(path, sha256, known, recorded)
    if known is None:
        of_url = recorded or {}
        return Provenance(path.name, size, sha256, name=of_url.get("name"), url=of_url.get("url"))
    return Provenance(
        path.name,
        size,
        sha256,
        name=known.name,
        source=known.source,
        licence=known.licence,
        citations=known.citations,
        trained_on=known.trained_on,
        url=_without_query(known.url),
        package=package_of(path, known),
    )


def record_file(path: Path) -> Path:
    """Path of the record of a file in the cache."""
    return path.with_name(path.name + ".origin.json")


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of a file, or None if there is none.

    Raises:
        ValueError: it cannot be read.
    """
    record = record_file(path)
    return read_json(record, dict) if record.is_file() else None


def write_record(path: Path, sha256: str, published: PublishedCheckpoint) -> None:
    """Record the hash of a file beside it, with a warning unless the hash was known before."""
    record = record_file(path)
    try:
        write_json(record, {"name": published.name, "url": _without_query(published.url), "sha256": sha256})
        where = f"recorded in {record} and compared at later uses"
    except OSError as error:
        where = f"not recorded, because the folder cannot be written to ({error})"
    if published.sha256 is None:
        compared = "only its MD5 was compared" if published.md5 else "its content is taken as it is"
        _logger.warning("%s: no sha256 is known for it, so %s. Its sha256 %s is %s", path.name, compared, sha256, where)


def check_record(
    path: Path, sha256: str, published: PublishedCheckpoint | None, recorded: Mapping[str, Any] | None
) -> None:
    """Compare a file with its record; without one, write it.

    Raises:
        CheckpointError: the file has changed.
    """
    if recorded is None:
        assert published is not None
        write_record(path, sha256, published)
    elif recorded.get("sha256") != sha256:
        remedy = (
            f"It was replaced or damaged: delete it and download it again. If it was replaced on purpose, delete "
            f"{record_file(path).name} beside it."
        )
        raise bad_file(path, f"sha256 {sha256}", f"{recorded.get('sha256')}, recorded at its first use", remedy)


def _without_query(url: str | None) -> str | None:
    return url and url.partition("?")[0]  # it can hold an access token
