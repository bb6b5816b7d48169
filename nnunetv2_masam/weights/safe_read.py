"""Reading tensors from files of unknown origin: no code in them is executed, a bad file is one clear error.

Pickles go through ``torch.load(weights_only=True)`` and nothing else; there is no fallback. Before that, what the
pickle describes is compared with what the file holds, so that nothing is computed from a file that does not fit.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nnunetv2_masam.files import sha256_of, shortened
from nnunetv2_masam.weights.archive import (
    Archive,
    ArchiveError,
    check_contents,
    check_storages,
    read_index,
)
from nnunetv2_masam.weights.pickle_outline import (
    MAX_PICKLE_BYTES,
    Outline,
    OutlineError,
    Storage,
    TensorOutline,
    outline_pickle,
)
from nnunetv2_masam.weights.published import known_by_sha256
from nnunetv2_masam.weights.weight_files import (
    EXPECTED,
    FETCH_AGAIN,
    CheckpointError,
    bad_file,
    checkpoint_file,
    kind_of,
    reading,
)

MAX_NESTING = 16  # dicts within dicts
_MAX_SHARING = 8  # how often all stored elements may be used by tensors that share them
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_RESAVE = (
    "Re-save it where its code is installed and trusted: torch.save(model.state_dict(), 'weights.pth'). "
    "Nothing in the file was executed."
)


def read_tensors(path: str | Path, *, verified: bool = False) -> dict[str, Any]:
    """Read the tensors of a checkpoint: a dict from names to CPU tensors or to further such dicts.

    Whatever is neither a tensor nor a dict (epoch numbers, lists, names) is left out. Tensors of an uncompressed
    zip-format checkpoint are mapped from the file: copy them before the file is replaced.

    Args:
        path: a file written by ``torch.save`` or a safetensors file, or a folder with one such file.
        verified: the file's sha256 is the expected one, so that the archive's own checksums need not be compared.

    Raises:
        FileNotFoundError: there is no such file, or no weights file in the folder.
        CheckpointError: the file is damaged, no checkpoint, without tensors, or contains pickled code.
    """
    path = checkpoint_file(path)
    with reading(path):
        if kind_of(path) == "safetensors":
            loaded: Any = _load_safetensors(path)
        else:
            loaded = _load_pickled(path, verified=verified)
    if not isinstance(loaded, Mapping):
        raise bad_file(path, f"a {type(loaded).__name__}", "a dict of tensors", _RESAVE)
    tensors = _only_tensors(path, loaded)
    if not tensors:
        names = shortened((str(key)[:80] for key in loaded), 5) or "none"
        raise bad_file(path, f"a dict without tensors (keys: {names})", "a dict of tensors", _RESAVE)
    return tensors


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    with open(path, "rb") as file:
        header = int.from_bytes(file.read(8), "little")
    try:
        if header > MAX_PICKLE_BYTES:
            raise SafetensorError(f"a header of {header} bytes, expected at most {MAX_PICKLE_BYTES}")
        return load_file(path, device="cpu")
    except SafetensorError as error:
        got = f"{path.stat().st_size} bytes that are no valid safetensors file ({error})"
        raise bad_file(path, got, "a whole safetensors file", FETCH_AGAIN) from error


def _load_pickled(path: Path, *, verified: bool) -> Any:
    try:
        return checked_torch_load(path, verified=verified, mapped=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise _refused_pickle(path, str(error)) from error
    except Exception as error:  # a damaged pickle can raise anything while it is decoded
        reason = f"{type(error).__name__}: {_first_line(error)}"
        got = f"{path.stat().st_size} bytes that torch.load cannot read ({reason})"
        raise bad_file(path, got, EXPECTED, "It is damaged or truncated. " + FETCH_AGAIN) from error


def checked_torch_load(path: Path, *, verified: bool = False, mapped: bool = False) -> Any:
    """``torch.load(weights_only=True)``, after what the file describes was compared with what it holds.

    Args:
        path: a file in torch's zip format or its legacy format.
        verified: see :func:`read_tensors`.
        mapped: map the file if it can be: compressed entries are not the tensors' bytes, and the legacy format has no
            alignment.

    Raises:
        CheckpointError: the file is damaged, or describes tensors that it does not hold or that are not dense.
        Exception: what else ``torch.load`` raises, ``pickle.UnpicklingError`` for code above all.
    """
    archive = _checked_archive(path, verified=verified)
    if archive is None:
        return torch.load(str(path), map_location="cpu", weights_only=True)
    if archive.is_stored:
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    try:
        unpacked = archive.unpacked()
    except ArchiveError as error:  # not seen before where its sha256 or no checksums vouched for it
        raise _damaged_archive(path, error) from error
    return torch.load(unpacked, map_location="cpu", weights_only=True)


def _checked_archive(path: Path, *, verified: bool) -> Archive | None:
    """The archive of a file that passed all comparisons; None for the legacy format."""
    try:
        archive = _open_archive(path) if kind_of(path) == "zip" else None
        _check_tensors(path, _outline(path, archive))
        if archive is not None and not verified:
            _check_contents(path, archive)
    except ArchiveError as error:
        raise _damaged_archive(path, error) from error
    except OutlineError as error:
        got = f"a pickle that is no tensor checkpoint ({error})"
        raise bad_file(path, got, EXPECTED, "It is damaged or of another kind. " + FETCH_AGAIN) from error
    return archive


def _damaged_archive(path: Path, error: ArchiveError) -> CheckpointError:
    remedy = "It is damaged or was re-packed wrongly. " + FETCH_AGAIN
    return bad_file(path, f"an archive that cannot be read: {error}", "a whole checkpoint", remedy)


def _check_contents(path: Path, archive: Archive) -> None:
    """Compare the archive's checksums; a file that is known by its sha256 is right whatever they say."""
    try:
        check_contents(archive)
    except ArchiveError:
        if known_by_sha256(sha256_of(path)) is None:
            raise


def _open_archive(path: Path) -> Archive:
    """Tell a truncated archive, a foreign zip and TorchScript apart before torch reports all three alike."""
    if not _has_index(path):
        got = f"the first {path.stat().st_size} bytes of a checkpoint (the table at its end is missing)"
        raise bad_file(path, got, "the whole file", "It is truncated. " + FETCH_AGAIN)
    archive = read_index(path)
    names = list(archive.entries)
    if any(name.endswith("/constants.pkl") for name in names):
        raise bad_file(path, "a TorchScript archive, which is code", EXPECTED, _RESAVE)
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if not pickles:
        got = f"a zip archive that is no checkpoint (it holds {', '.join(names[:3]) or 'nothing'})"
        raise bad_file(path, got, EXPECTED, "If the checkpoint is inside, unpack it first.")
    if len(pickles) > 1:
        raise ArchiveError(f"{len(pickles)} of its entries are called data.pkl")
    return archive


def _has_index(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it has one, which is damaged
        return True


def _outline(path: Path, archive: Archive | None) -> Outline:
    """What the file describes, with storages that the file can hold."""
    if archive is not None:
        outline = outline_pickle(BytesIO(archive.read(archive.pickle_name)))
        check_storages(archive, outline.storages.values())
        return outline
    with open(path, "rb") as file:
        stream = BytesIO(file.read(MAX_PICKLE_BYTES))
    first = outline_pickle(stream)
    if first.root != _LEGACY_MAGIC:  # some other pickle, which torch.load refuses
        return first
    outline_pickle(stream)  # the protocol's version
    outline_pickle(stream)  # sizes of C types
    outline = outline_pickle(stream)
    stored = sum(storage.bytes for storage in outline.storages.values())
    if stored > path.stat().st_size:
        got = f"{path.stat().st_size} bytes for tensors of {stored} bytes"
        raise bad_file(path, got, "the whole file", "It is damaged or truncated. " + FETCH_AGAIN)
    return outline


def _check_tensors(path: Path, outline: Outline) -> None:
    """Refuse tensors that are not dense, or that do not lie within their storages."""
    expected, remedy = "dense tensors", "Save it as tensors that are contiguous: tensor.to_dense().contiguous()."
    for tensor in outline.tensors:
        if fault := tensor.fault():
            raise bad_file(path, f"{_name_of(outline.root, tensor)}{fault}", expected, remedy)
    stored: set[Storage] = {tensor.storage for tensor in outline.tensors if tensor.storage is not None}
    used = sum(tensor.numel * tensor.itemsize for tensor in outline.tensors)
    if used > _MAX_SHARING * sum(storage.bytes for storage in stored):
        raise bad_file(path, f"{len(outline.tensors)} tensors of {used} bytes that overlap", expected, remedy)


def _name_of(root: Any, wanted: TensorOutline) -> str:
    """``key: `` of a tensor that the outermost dict or a dict in it holds."""
    for key, value in root.items() if isinstance(root, dict) else ():
        inner = value if isinstance(value, dict) else {}
        for name, tensor in ((key, value), *((f"{key}.{name}", tensor) for name, tensor in inner.items())):
            if tensor is wanted:
                return f"{name!s:.120} as "
    return ""


def _refused_pickle(path: Path, message: str) -> CheckpointError:
    wanted = re.search(r"GLOBAL (\S+)", message)
    stream = _pickle_stream(path)
    if is_nnunet_checkpoint(path):
        remedy = "Use it with nnUNetv2_predict or -pretrained_weights."
        return bad_file(path, "an nnU-Net checkpoint", "SAM weights", remedy)
    if b"model_state" in stream and b"optimizer_state" in stream:
        got = f"a training checkpoint of torch_em (micro-sam), which holds code ({wanted[1] if wanted else '?'})"
        remedy = "Export its weights where micro-sam is installed: micro_sam.util.export_custom_sam_model."
        return bad_file(path, got, EXPECTED, remedy)
    if wanted is None:
        got = f"a pickle that is no tensor checkpoint ({message.splitlines()[0]})"
        return bad_file(path, got, EXPECTED, "It is damaged or of another kind. " + FETCH_AGAIN)
    return bad_file(path, f"pickled code (it wants to call {wanted[1]})", EXPECTED, _RESAVE)


def is_nnunet_checkpoint(path: Path) -> bool:
    """Whether the undecoded pickle in a file has the key names of nnU-Net's checkpoints."""
    with reading(path):
        stream = b"" if kind_of(path) == "safetensors" else _pickle_stream(path)
    return b"network_weights" in stream and b"trainer_name" in stream


def _pickle_stream(path: Path) -> bytes:
    """The undecoded pickle, to look for key names in."""
    if kind_of(path) == "zip":
        archive = read_index(path)
        return archive.read(archive.pickle_name)
    with open(path, "rb") as file:
        return file.read(1 << 20)


def _only_tensors(path: Path, mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """The tensors in dicts within dicts; a dict that is met again is not gone through again."""
    done: dict[int, dict[str, Any]] = {}
    open_: set[int] = set()

    def gather(mapping: Mapping[Any, Any]) -> dict[str, Any]:
        if id(mapping) in done:
            return done[id(mapping)]
        if id(mapping) in open_ or len(open_) >= MAX_NESTING:
            got = "a dict that contains itself" if id(mapping) in open_ else f"more than {MAX_NESTING} nested dicts"
            raise bad_file(path, got, "a dict of tensors", _RESAVE)
        open_.add(id(mapping))
        kept: dict[str, Any] = {}
        for key, value in mapping.items():
            if not isinstance(key, str):
                continue
            if isinstance(value, Tensor):
                kept[key] = value.detach()
            elif isinstance(value, Mapping) and (inner := gather(value)):
                kept[key] = inner
        open_.remove(id(mapping))
        done[id(mapping)] = kept
        return kept

    return gather(mapping)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
