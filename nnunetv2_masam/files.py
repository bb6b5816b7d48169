"""Atomic writing of files and folders, UTF-8 text and JSON, hashes, the cache folder and on/off variables."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NOT_SET = ("", "0", "false", "no", "off")
_STALE_AFTER_S = 7 * 24 * 3600.0  # for partial folders of other hosts, whose processes cannot be asked


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to; when the block ends without an error, that file replaces ``path`` in one step.

    The yielded path has the same file name, in a hidden folder of its own beside ``path``: two processes never share
    one, and writers that look at the file's ending work. If the block raises or the process dies, ``path`` stays as it
    was; what a dead process left behind is removed by the next write. If the block writes nothing, nothing happens. A
    symbolic link stays one, and the file that it points to is replaced.
    """
    path = Path(path)
    target = path.resolve() if path.is_symlink() else path
    with _partial_folder(target) as folder:
        partial = folder / target.name
        yield partial
        if partial.exists():
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())  # otherwise the new name can survive a power cut and the content not
            partial.replace(target)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new empty folder to fill; when the block ends without an error, it becomes ``path``.

    If the block raises or the process dies, there is no ``path``.

    Raises:
        ValueError: ``path`` is a file, or a folder with something in it.
    """
    path = Path(path)
    refuse_existing(path)
    with _partial_folder(path) as folder:
        partial = folder / path.name
        partial.mkdir()
        yield partial
        refuse_existing(path)
        if path.is_dir():
            path.rmdir()
        partial.rename(path)


def refuse_existing(path: Path) -> None:
    """Raise ``ValueError`` if ``path`` is anything but missing or an empty folder."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        kind = "is a folder with files in it" if path.is_dir() else "is a file"
        raise ValueError(f"{path}: {kind}, expected a new or empty folder. Choose another name, or remove it first")


def refuse_other_content(path: Path, text: str) -> None:
    """Raise ``ValueError`` if ``path`` is there and is not a file with this text."""
    if path.exists() and (not path.is_file() or read_text(path) != text):
        raise ValueError(f"{path}: is there and differs from what would be written. Give --overwrite to replace it")


@contextmanager
def _partial_folder(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    folder = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial")
    folder.mkdir()
    try:
        yield folder
    except (OSError, RuntimeError) as error:
        if _is_failed_write(error):
            raise _disk_error(path, folder, error) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_failed_write(error: Exception) -> bool:
    """Whether a disk did not take what was written; torch says ``unexpected pos`` then and names no file."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(words in str(error) for words in ("unexpected pos", "file write failed", "No space left"))


def _disk_error(path: Path, folder: Path, error: Exception) -> OSError:
    written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free
    return OSError(
        f"{path}: could not be written, the disk of {path.parent} or its quota is probably full ({error}). It needs "
        f"more than the {written} bytes that were written before; {free} bytes are free beside them. Free space, or "
        "choose another disk, and try again"
    )


def _remove_stale(path: Path) -> None:
    """Remove the partial folders of ``path`` whose process is dead."""
    for folder in path.parent.glob(f".{_escaped(path.name)}.*.partial"):
        owner, process, *_ = folder.name.rsplit(".", 3)
        if owner == f".{path.name}.{socket.gethostname()}" and process.isdigit():
            stale = not is_alive(int(process))
        else:
            try:
                stale = time.time() - folder.stat().st_mtime > _STALE_AFTER_S
            except OSError:
                continue
        if stale:
            shutil.rmtree(folder, ignore_errors=True)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def read_text(path: str | Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        ValueError: the file cannot be read, or is not UTF-8; the message names it.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file in one step."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: str | Path, kind: type = object) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        kind: ``dict`` or ``list``, if the content has to be one.

    Raises:
        ValueError: the file cannot be read, is not JSON, or its content is of another kind; the message names it.
    """
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, kind):
        names: dict[type, str] = {dict: "an object {…}", list: "a list […]"}
        raise ValueError(f"{path}: holds {type(content).__name__}, expected {names.get(kind, kind.__name__)}")
    return content


def write_json(path: str | Path, content: Any, indent: int = 1) -> None:
    """Write a JSON file in one step; not-a-number is refused, because JSON has no such value."""
    write_text(path, json.dumps(content, indent=indent, allow_nan=False) + "\n")


def list_folder(folder: Path) -> list[Path]:
    """The sorted content of a folder.

    Raises:
        ValueError: the folder is missing or cannot be read; the message names it.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder}: cannot be read as a folder ({error.strerror})") from error


def files_by_case(folder: Path, *endings: str) -> dict[str, Path]:
    """The files in a folder by case, without hidden ones: those with the first ending that any has."""
    paths = [path for path in list_folder(folder) if not path.name.startswith(".")]
    found = ({p.name.removesuffix(ending): p for p in paths if p.name.endswith(ending)} for ending in endings)
    return next(filter(None, found), {})


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file in hex, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def cache_folder() -> Path:
    """``MASAM_CACHE``, else the platform's cache folder for this package; it need not exist yet."""
    if named := os.environ.get("MASAM_CACHE"):
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("nnunetv2_masam"))


def env_flag(variable: str) -> bool:
    """Whether an environment variable is set to anything but one of the usual spellings of no."""
    return os.environ.get(variable, "").strip().lower() not in _NOT_SET


def shortened(names: Iterable[object], most: int = 4) -> str:
    """``a, b, c, d and 3 more``."""
    listed = [str(name) for name in names]
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest
