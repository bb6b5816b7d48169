"""Read tensors from untrusted files: no code in them is executed, and a bad file raises one clear error.

Pickles go through ``torch.load(weights_only=True)``, which is allowed numpy's numbers besides its own list because
nnU-Net logs them; there is no fallback. torch does not compare an archive's checksums: this is done here.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from nnunetv2_masam.files import sha256_of, shortened
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

_RESAVE = (
    "Re-save it where its code is installed and trusted: torch.save(model.state_dict(), 'weights.pth'). "
    "Nothing in the file was executed."
)
_EXPORT = "Export its weights where micro-sam is installed: micro_sam.util.export_custom_sam_model."


def read_tensors(path: str | Path, *, values: bool = True) -> dict[str, Any]:
    """Read the tensors of a checkpoint: a dict from names to CPU tensors or to further such dicts.

    Whatever is neither a tensor nor a dict (epoch numbers, lists, names) is left out.

    Args:
        path: a file written by ``torch.save`` or a safetensors file, or a folder with one such file.
        values: see :func:`load_checkpoint`.

    Raises:
        FileNotFoundError: there is no such file, or no weights file in the folder.
        CheckpointError: the file is damaged, no checkpoint, without tensors, or contains pickled code.
    """
    path = checkpoint_file(path)
    loaded = load_checkpoint(path, values=values)
    if not isinstance(loaded, Mapping):
        raise bad_file(path, f"a {type(loaded).__name__}", "a dict of tensors", _RESAVE)
    tensors = _only_tensors(loaded)
    if not tensors:
        names = shortened((str(key)[:80] for key in loaded), 5) or "none"
        raise bad_file(path, f"a dict without tensors (keys: {names})", "a dict of tensors", _RESAVE)
    return tensors


def load_checkpoint(path: Path, *, values: bool = True) -> Any:
    """Load what ``torch.save`` or safetensors wrote to a file, onto the CPU.

    Tensors of torch's zip format are mapped from the file.

    Args:
        values: compare the checksums of the archive. False is for names and shapes, and reads little of the file.

    Raises:
        CheckpointError: the file is damaged, no checkpoint, or contains pickled code.
    """
    with reading(path):
        kind = kind_of(path)
        try:
            if kind == "safetensors":
                return load_file(path, device="cpu")
            if kind == "zip":
                _check_archive(path, values)
            with torch.serialization.safe_globals(_numpy_numbers()):
                return torch.load(path, map_location="cpu", weights_only=True, mmap=kind == "zip")
        except (CheckpointError, OSError):
            raise
        except pickle.UnpicklingError as error:
            raise _refused_pickle(path, str(error)) from error
        except Exception as error:  # a damaged file can raise anything while it is decoded
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            got = f"{path.stat().st_size} bytes that cannot be read ({reason})"
            raise bad_file(path, got, EXPECTED, "It is damaged or truncated. " + FETCH_AGAIN) from error


def _check_archive(path: Path, values: bool) -> None:
    """Tell damaged, truncated, compressed and foreign archives and TorchScript apart."""
    if not zipfile.is_zipfile(path):
        got = f"the first {path.stat().st_size} bytes of a checkpoint (the table at its end is missing)"
        raise bad_file(path, got, "the whole file", "It is truncated. " + FETCH_AGAIN)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if any(name.endswith("/constants.pkl") for name in names):
            raise bad_file(path, "a TorchScript archive, which is code", EXPECTED, _RESAVE)
        if not any(name.endswith("/data.pkl") for name in names):
            got = f"a zip archive that is no checkpoint (it holds {', '.join(names[:3]) or 'nothing'})"
            raise bad_file(path, got, EXPECTED, "If the checkpoint is inside, unpack it first.")
        if len(set(names)) != len(names):
            raise bad_file(path, "an archive in which two entries have the same name", EXPECTED, FETCH_AGAIN)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            remedy = "Unpack it and pack it again without compression (zip -r -0), or copy the original."
            raise bad_file(path, "an archive that was packed again, with compression", EXPECTED, remedy)
        # torch can be told to write no checksums; then all are zero
        damaged = archive.testzip() if values and any(entry.CRC for entry in entries) else None
    if damaged is not None and known_by_sha256(sha256_of(path)) is None:
        got = f"an archive whose entry {damaged} is damaged"
        raise bad_file(path, got, "a whole checkpoint", FETCH_AGAIN)


def _refused_pickle(path: Path, message: str) -> CheckpointError:
    wanted = re.search(r"GLOBAL (\S+)", message)
    if wanted is None:
        got = f"a pickle that is no tensor checkpoint ({message.splitlines()[0]})"
        return bad_file(path, got, EXPECTED, "It is damaged or of another kind. " + FETCH_AGAIN)
    remedy = _EXPORT if wanted[1].startswith(("micro_sam.", "torch_em.")) else _RESAVE
    return bad_file(path, f"pickled code (it wants to call {wanted[1]})", EXPECTED, remedy)


def _only_tensors(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """The tensors in dicts within dicts."""
    kept: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(key, str) and isinstance(value, Tensor):
            kept[key] = value.detach()
        elif isinstance(key, str) and isinstance(value, Mapping) and (inner := _only_tensors(value)):
            kept[key] = inner
    return kept


def _numpy_numbers() -> list[Any]:
    """What numpy's scalars are pickled as; the module that makes them has another name in numpy 1 than in 2."""
    make_scalar = np.float64(0).__reduce__()[0]

    def scalar(*args: Any) -> Any:
        return make_scalar(*args)

    named = []
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        alias = FunctionType(scalar.__code__, globals(), "scalar", None, scalar.__closure__)
        alias.__module__, alias.__qualname__ = module, "scalar"
        named.append(alias)
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [np.dtype, *(type(np.dtype(kind)) for kind in kinds), *named]
