"""Record the weights that a training started from: name, hash, licence and citation, for its log and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import cache_folder, sha256_of
from nnunetv2_masam.weights.local_files import package_of
from nnunetv2_masam.weights.published import known_by_file_name, known_by_sha256
from nnunetv2_masam.weights.weight_files import bad_file, checkpoint_file, reading

KEY = "masam_weights"  # in the init_args of nnU-Net's checkpoints, which nnU-Net itself restores when it continues


@dataclass(frozen=True)
class Provenance:
    """Origin of weights: file, hash, licence, citation.

    Attributes:
        name: of the known checkpoint; None for any other file.
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

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: a file in the cache is not the one of its name.
    """
    path = checkpoint_file(path)
    with reading(path):
        sha256, size = sha256_of(path), path.stat().st_size
    known = known_by_sha256(sha256)
    if known is None and path.parent.resolve() == cache_folder().resolve():
        known = known_by_file_name(path.name)
        if known is not None and known.sha256 is not None:
            remedy = "It was changed: delete it and download it again (`nnUNetv2_masam weights download`)."
            raise bad_file(path, f"sha256 {sha256}", f"{known.sha256}, as the file of this name has", remedy)
    if known is None:
        return Provenance(path.name, size, sha256)
    of_known = ("name", "source", "licence", "citations", "trained_on", "url")
    return Provenance(
        path.name, size, sha256, package=package_of(path, known), **{key: getattr(known, key) for key in of_known}
    )
