"""The zip archive around a checkpoint: its index, and whether its content is what the index says.

torch reads such an archive without asking for its checksums, and maps compressed entries as if they were tensors.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from nnunetv2_masam.weights.pickle_outline import MAX_PICKLE_BYTES, Storage

MAX_EXPANSION = 10  # times the file's size, for what compressed entries become; weights hardly compress
_SMALL = 64 << 20  # bytes that may be read whatever the expansion
_PIECE = 1 << 20
# what zipfile raises for damaged archives
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


class ArchiveError(ValueError):
    """An archive that is damaged or that ``torch.save`` does not write."""


@dataclass(frozen=True)
class Archive:
    """A checkpoint's archive.

    Attributes:
        path: the file.
        entries: by name.
    """

    path: Path
    entries: dict[str, zipfile.ZipInfo]

    @property
    def pickle_name(self) -> str:
        """Name of the entry that describes the object."""
        return next(name for name in self.entries if name.endswith("/data.pkl"))

    @property
    def is_stored(self) -> bool:
        """Whether no entry is compressed: only then the file's bytes are the tensors' bytes."""
        return all(
            info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
            for info in self.entries.values()
        )

    @property
    def has_checksums(self) -> bool:
        """False if written after ``torch.serialization.set_crc32_options(False)``."""
        return any(info.CRC for info in self.entries.values())

    def read(self, name: str) -> bytes:
        """The content of an entry.

        Raises:
            ArchiveError: it is damaged.
        """
        with zipfile.ZipFile(self.path) as opened:
            return self._read_from(opened, name)

    def _read_from(self, opened: zipfile.ZipFile, name: str) -> bytes:
        info = opened.getinfo(name)
        if not self.has_checksums:
            info.CRC = None  # type: ignore[assignment]  # zipfile compares nothing then
        try:
            return opened.read(info)
        except _DAMAGE as error:
            raise ArchiveError(f"{name} is damaged ({error})") from error

    def unpacked(self) -> BytesIO:
        """The same archive without compression, in memory.

        torch's own reader of compressed entries returns what memory held before if an index is damaged in some ways.
        """
        buffer = BytesIO()
        with zipfile.ZipFile(self.path) as opened, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as stored:
            for name in self.entries:
                stored.writestr(name, self._read_from(opened, name))
        buffer.seek(0)
        return buffer


def read_index(path: Path) -> Archive:
    """Read the index of an archive.

    Raises:
        ArchiveError: it is damaged, or has entries that torch.save does not write.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except _DAMAGE as error:
        raise ArchiveError(f"its index is damaged ({error})") from error
    if len({info.filename.lower() for info in infos}) != len(infos):
        raise ArchiveError("two entries of it have the same name")
    for info in infos:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise ArchiveError(f"{info.filename} is encrypted or compressed otherwise than by deflate")
        if info.filename.endswith("/data.pkl") and info.file_size > MAX_PICKLE_BYTES:
            raise ArchiveError(f"{info.filename} has {info.file_size} bytes, a checkpoint's at most {MAX_PICKLE_BYTES}")
    whole = sum(info.file_size for info in infos)
    limit = max(_SMALL, MAX_EXPANSION * path.stat().st_size)
    if whole > limit:
        raise ArchiveError(f"unpacked it would have {whole} bytes, expected at most {limit}")
    return Archive(path, {info.filename: info for info in infos})


def check_storages(archive: Archive, storages: Iterable[Storage]) -> None:
    """Raise ``ArchiveError`` unless each storage is an entry of its size."""
    root = archive.pickle_name.removesuffix("data.pkl")
    for storage in storages:
        info = archive.entries.get(f"{root}data/{storage.key}")
        if info is None:
            raise ArchiveError(f"the entry {root}data/{storage.key} is missing")
        if info.file_size != storage.bytes:
            raise ArchiveError(f"{info.filename} has {info.file_size} bytes, its tensors need {storage.bytes}")


def check_contents(archive: Archive) -> None:
    """Raise ``ArchiveError`` unless each entry has the checksum that the index says, if it has checksums."""
    if not archive.has_checksums:
        return
    with zipfile.ZipFile(archive.path) as opened:
        for info in archive.entries.values():
            try:
                with opened.open(info) as entry:
                    while entry.read(_PIECE):
                        pass
            except _DAMAGE as error:
                raise ArchiveError(f"{info.filename} is damaged ({error})") from error
