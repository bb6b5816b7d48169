"""Find a weights file on the disk and tell its kind, with errors that name the file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunetv2_masam.files import list_folder

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
EXPECTED = "a checkpoint saved by torch.save as tensors only, or a safetensors file"
FETCH_AGAIN = "Download or copy the file again and compare its sha256 (`nnUNetv2_masam weights`)."
# In a folder saved by Hugging Face's `save_pretrained`, which may hold the same weights in both forms.
_FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message says what is wrong and what to do."""


def bad_file(path: Path, got: str, expected: str, remedy: str) -> CheckpointError:
    """The error for a bad file, always in the same order: which file, got, expected, remedy."""
    return CheckpointError(f"{path}: got {got}; expected {expected}. {remedy}")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a ``CheckpointError`` that names the file."""
    try:
        yield
    except OSError as error:
        remedy = "Check its permissions and its disk, or copy the file again."
        raise bad_file(path, f"an unreadable file ({error.strerror or error})", EXPECTED, remedy) from error


def checkpoint_file(path: str | Path) -> Path:
    """The weights file meant by a path: the file itself, or the only one in a folder."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    if not path.is_dir():
        require_regular_file(path)
        return path
    found = weights_files(path)
    if len(found) == 1:
        return found[0]
    if any(path.glob("*.index.json")):
        remedy = "Save it unsharded: model.save_pretrained(folder, max_shard_size='10GB')."
        raise bad_file(path, "a checkpoint split into shards", "one file", remedy)
    if not found:
        raise FileNotFoundError(f"no weights file ({', '.join(WEIGHT_SUFFIXES)}) in the folder {path}")
    names = ", ".join(child.name for child in found)
    raise bad_file(path, f"a folder with {len(found)} weights files ({names})", "one", "Name the file itself.")


def require_regular_file(path: Path) -> None:
    """Refuse pipes, sockets and devices: reading them can wait or go on for ever."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device"}
        got = kinds.get(stat.S_IFMT(mode), "something that is no file")
        raise bad_file(path, got, EXPECTED, "Copy what it delivers to a file and name that.")


def weights_files(folder: Path) -> list[Path]:
    """The weights files of a folder, by suffix; of a Hugging Face folder with both forms, the safetensors."""
    for name in _FOLDER_FILES:
        if (folder / name).is_file():
            return [folder / name]
    return [child for child in list_folder(folder) if child.is_file() and child.suffix in WEIGHT_SUFFIXES]


def kind_of(path: Path) -> str:
    """``zip``, ``pickle`` or ``safetensors`` from the first bytes; an error names anything else."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        raise bad_file(path, "an empty file", EXPECTED, FETCH_AGAIN)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head.startswith(b"version https://git-lfs"):
        raise bad_file(path, "a Git LFS pointer", EXPECTED, "Run `git lfs pull` in its repository.")
    if all(byte > 31 or chr(byte).isspace() for byte in head):
        what = "an HTML page" if b"<html" in head.lower() or b"<!doctype" in head.lower() else "a text file"
        remedy = "It is probably the web page of an error or of a login. " + FETCH_AGAIN
        raise bad_file(path, f"{what} starting with {head[:40]!r}", EXPECTED, remedy)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return "safetensors"
    raise bad_file(path, f"{path.stat().st_size} bytes of no known format", EXPECTED, FETCH_AGAIN)
