"""Reading tensors from files of unknown origin: no code in them is executed, a bad file is one clear error.

Pickles go through ``torch.load(weights_only=True)`` and nothing else; there is no fallback.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
# In a folder saved by Hugging Face's `save_pretrained`, which may hold the same weights in both forms.
_FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
_EXPECTED = "a checkpoint saved by torch.save as tensors only, or a safetensors file"
_FETCH_AGAIN = "Download or copy the file again and compare its sha256 (`nnUNetv2_masam weights`)."
_RESAVE = (
    "Re-save it where its code is installed and trusted: torch.save(model.state_dict(), 'weights.pth'). "
    "Nothing in the file was executed."
)


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message says what is wrong and what to do."""


def bad_file(path: Path, got: str, expected: str, remedy: str) -> CheckpointError:
    """The error for a bad file, always in the same order: which file, got, expected, remedy."""
    return CheckpointError(f"{path}: got {got}; expected {expected}. {remedy}")


def read_tensors(path: str | Path) -> dict[str, Any]:
    """Read the tensors of a checkpoint: a dict from names to CPU tensors or to further such dicts.

    Whatever is neither a tensor nor a dict (epoch numbers, lists, names) is left out. Tensors of a zip-format
    checkpoint are mapped from the file: copy them before the file is replaced.

    Args:
        path: a file written by ``torch.save`` or a safetensors file, or a folder with one such file.

    Raises:
        FileNotFoundError: there is no such file, or no weights file in the folder.
        CheckpointError: the file is damaged, no checkpoint, without tensors, or contains pickled code.
    """
    path = checkpoint_file(path)
    kind = _kind_of(path)
    loaded = _load_safetensors(path) if kind == "safetensors" else _load_torch(path, zipped=kind == "zip")
    if not isinstance(loaded, Mapping):
        raise bad_file(path, f"a {type(loaded).__name__}", "a dict of tensors", _RESAVE)
    tensors = _only_tensors(loaded)
    if not tensors:
        names = ", ".join(str(key) for key in list(loaded)[:5]) or "none"
        raise bad_file(path, f"a dict without tensors (keys: {names})", "a dict of tensors", _RESAVE)
    return tensors


def checkpoint_file(path: str | Path) -> Path:
    """The weights file meant by a path: the file itself, or the only one in a folder."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    if not path.is_dir():
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


def weights_files(folder: Path) -> list[Path]:
    """The weights files of a folder, by suffix; of a Hugging Face folder with both forms, the safetensors."""
    for name in _FOLDER_FILES:
        if (folder / name).is_file():
            return [folder / name]
    return sorted(child for child in folder.iterdir() if child.is_file() and child.suffix in WEIGHT_SUFFIXES)


def _kind_of(path: Path) -> str:
    """``zip``, ``pickle`` or ``safetensors`` from the first bytes; an error names anything else."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        raise bad_file(path, "an empty file", _EXPECTED, _FETCH_AGAIN)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head.startswith(b"version https://git-lfs"):
        raise bad_file(path, "a Git LFS pointer", _EXPECTED, "Run `git lfs pull` in its repository.")
    if _is_text(head):
        what = "an HTML page" if b"<html" in head.lower() or b"<!doctype" in head.lower() else "a text file"
        remedy = "It is probably the web page of an error or of a login. " + _FETCH_AGAIN
        raise bad_file(path, f"{what} starting with {head[:40]!r}", _EXPECTED, remedy)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return "safetensors"
    raise bad_file(path, f"{path.stat().st_size} bytes of no known format", _EXPECTED, _FETCH_AGAIN)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # otherwise a character cut off by the end of the sample
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        got = f"{path.stat().st_size} bytes that are no valid safetensors file ({error})"
        raise bad_file(path, got, "a whole safetensors file", _FETCH_AGAIN) from error


def _load_torch(path: Path, *, zipped: bool) -> Any:
    if zipped:
        _check_zip(path)
    try:
        # The legacy format has no alignment and cannot be mapped.
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=True if zipped else None)
    except pickle.UnpicklingError as error:
        raise _refused_pickle(path, str(error), zipped=zipped) from error
    except Exception as error:  # a damaged pickle can raise anything while it is decoded
        reason = f"{type(error).__name__}: {_first_line(error)}"
        got = f"{path.stat().st_size} bytes that torch.load cannot read ({reason})"
        raise bad_file(path, got, _EXPECTED, "It is damaged or truncated. " + _FETCH_AGAIN) from error


def _check_zip(path: Path) -> None:
    """Tell a truncated archive, a foreign zip and TorchScript apart before torch reports all three alike."""
    if not zipfile.is_zipfile(path):
        got = f"the first {path.stat().st_size} bytes of a checkpoint (the table at its end is missing)"
        raise bad_file(path, got, "the whole file", "It is truncated. " + _FETCH_AGAIN)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise bad_file(path, "a TorchScript archive, which is code", _EXPECTED, _RESAVE)
    if not any(name.endswith("/data.pkl") for name in names):
        got = f"a zip archive that is no checkpoint (it holds {', '.join(names[:3]) or 'nothing'})"
        raise bad_file(path, got, _EXPECTED, "If the checkpoint is inside, unpack it first.")


def _refused_pickle(path: Path, message: str, *, zipped: bool) -> CheckpointError:
    wanted = re.search(r"GLOBAL (\S+)", message)
    stream = _pickle_stream(path, zipped=zipped)
    if b"network_weights" in stream and b"trainer_name" in stream:
        remedy = "Use it with nnUNetv2_predict or -pretrained_weights."
        return bad_file(path, "an nnU-Net checkpoint", "SAM weights", remedy)
    if wanted is None:
        got = f"a pickle that is no tensor checkpoint ({message.splitlines()[0]})"
        return bad_file(path, got, _EXPECTED, "It is damaged or of another kind. " + _FETCH_AGAIN)
    return bad_file(path, f"pickled code (it wants to call {wanted[1]})", _EXPECTED, _RESAVE)


def _pickle_stream(path: Path, *, zipped: bool) -> bytes:
    """The undecoded pickle, to look for key names in."""
    if not zipped:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        return archive.read(name)


def _only_tensors(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            continue
        if isinstance(value, Tensor):
            kept[key] = value.detach()
        elif isinstance(value, Mapping) and (inner := _only_tensors(value)):
            kept[key] = inner
    return kept


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
