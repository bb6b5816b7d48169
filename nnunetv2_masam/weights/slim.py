"""Slim state dicts: tensors that equal the SAM file's are left out, and put back when the state dict is loaded.

Only tensors that are bitwise equal to the base file's are left out. Tensors that were resized or summed on loading are
stored, so nothing depends on an interpolation on another machine. One further entry of the state dict, :data:`MARKER`,
names the base file and the missing tensors. (SlimSAM, a pruned SAM, has nothing to do with this.)
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_masam.files import cache_folder, env_flag, sha256_of, shortened
from nnunetv2_masam.weights.formats import read_sam_checkpoint
from nnunetv2_masam.weights.local_files import find_installed
from nnunetv2_masam.weights.published import known_by_file_name, known_by_sha256
from nnunetv2_masam.weights.weight_files import (
    CheckpointError,
    bad_file,
    reading,
    require_regular_file,
    weights_files,
)

MARKER = "masam_slim_base"


@dataclass(frozen=True)
class SlimBase:
    """The SAM file that a slim state dict needs.

    Attributes:
        file_name: its name when it was used; it may have been renamed since.
        bytes: its size.
        sha256: its hash in hex.
    """

    file_name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class BaseTensors:
    """A SAM file as read, with its tensors under the network's names."""

    base: SlimBase
    tensors: Mapping[str, Tensor]


def slim_checkpoints_wanted() -> bool:
    """Whether ``MASAM_SLIM_CHECKPOINTS`` asks trainers to save slim checkpoints."""
    return env_flag("MASAM_SLIM_CHECKPOINTS")


def is_slim(state_dict: Mapping[str, Any]) -> bool:
    """Whether tensors of a base file are missing in a state dict."""
    return MARKER in state_dict


def read_base(path: str | Path) -> BaseTensors:
    """Read a SAM file (or a folder with one) to be the base of slim state dicts."""
    checkpoint = read_sam_checkpoint(path)
    file = checkpoint.path
    with reading(file):
        return BaseTensors(SlimBase(file.name, file.stat().st_size, sha256_of(file)), checkpoint.state_dict)


def unchanged_names(state_dict: Mapping[str, Tensor], base: BaseTensors) -> list[str]:
    """Names of the tensors that are bitwise equal in a state dict and its base."""
    return [
        name
        for name, tensor in state_dict.items()
        if name in base.tensors and _same_bits(tensor.detach().cpu(), base.tensors[name])
    ]


def slim_state_dict(state_dict: Mapping[str, Any], names: Collection[str], base: SlimBase) -> dict[str, Any]:
    """Leave out the tensors ``names``, which the base file holds, and add the marker."""
    kept = {name: tensor for name, tensor in state_dict.items() if name not in set(names)}
    kept[MARKER] = {"file": base.file_name, "bytes": base.bytes, "sha256": base.sha256, "tensors": list(names)}
    return kept


def base_of(state_dict: Mapping[str, Any]) -> SlimBase:
    """Read the base that a slim state dict names.

    Raises:
        CheckpointError: the marker is damaged.
    """
    marker = state_dict[MARKER]
    kinds = {"file": str, "bytes": int, "sha256": str, "tensors": list}
    if not isinstance(marker, Mapping) or not all(isinstance(marker.get(key), kind) for key, kind in kinds.items()):
        raise CheckpointError(
            f"a slim checkpoint whose entry {MARKER} is damaged: got {str(marker)[:120]}; expected a dict of "
            f"{', '.join(kinds)}. Copy the checkpoint again"
        )
    return SlimBase(marker["file"], marker["bytes"], marker["sha256"])


def complete_state_dict(state_dict: Mapping[str, Any], base: BaseTensors) -> dict[str, Any]:
    """Put the base's tensors back into a slim state dict.

    Raises:
        CheckpointError: ``base`` is not the file that the state dict was made from.
    """
    needed = base_of(state_dict)
    if needed.sha256 != base.base.sha256:
        raise CheckpointError(
            f"{base.base.file_name}: got sha256 {base.base.sha256}; the slim checkpoint needs {needed.file_name}, "
            f"{needed.bytes} bytes, sha256 {needed.sha256}"
        )
    names = state_dict[MARKER]["tensors"]
    if unknown := [name for name in names if name not in base.tensors]:
        got = f"no tensor {shortened(unknown, 2)}"
        raise bad_file(Path(base.base.file_name), got, "all that the slim checkpoint leaves out", "Copy it again.")
    missing = {name: base.tensors[name] for name in names}
    return {**{name: tensor for name, tensor in state_dict.items() if name != MARKER}, **missing}


def find_base(needed: SlimBase) -> Path:
    """Find the base file by size and hash in ``MASAM_CHECKPOINT`` (file or folder), the cache or a package.

    Raises:
        FileNotFoundError: it is in none of them; the message says what is needed and how to get it.
    """
    looked = []
    for label, place in (("MASAM_CHECKPOINT", os.environ.get("MASAM_CHECKPOINT")), ("cache", cache_folder())):
        if not place:
            looked.append(f"{label}: not set")
            continue
        path = Path(place).expanduser()
        if path.exists() and not path.is_dir():
            require_regular_file(path)
        files = weights_files(path) if path.is_dir() else [path] if path.is_file() else []
        for file in files:
            if file.stat().st_size == needed.bytes and _sha256_if_readable(file) == needed.sha256:
                return file
        found = ", ".join(f"{file.name} ({file.stat().st_size} bytes)" for file in files)
        looked.append(f"{label}: {path}: {f'not among {found}' if found else 'not there'}")
    known = known_by_sha256(needed.sha256)
    if known is not None and (installed := find_installed(known)):
        return installed
    known = known or known_by_file_name(needed.file_name)
    get = "ask whoever trained the model for it"
    if known is not None:
        get = f"nnUNetv2_masam weights download {known.name}" if known.url else known.origin
    raise FileNotFoundError(
        f"the SAM file that the model was trained from is missing.\n"
        f"Needed:\n  {needed.file_name}, {needed.bytes} bytes\n  sha256 {needed.sha256}\n"
        f"Looked at:\n  " + "\n  ".join(looked) + f"\n"
        f"To get it: {get}; or copy it into {cache_folder()}, or set MASAM_CHECKPOINT to it. Where the file is, "
        f"nnUNetv2_masam merge FOLDER -o OUT makes slim checkpoints whole."
    )


def _sha256_if_readable(file: Path) -> str | None:
    try:
        return sha256_of(file)
    except OSError:  # the file that is needed may lie beside it
        return None


class SlimCompletion:
    """Complete slim state dicts as a network loads them; other state dicts pass through.

    Register it with ``register_load_state_dict_pre_hook``. nnU-Net loads a model's weights again for every case that it
    predicts, so the base is read and hashed once and kept.

    Attributes:
        base: the base that was last used.
    """

    def __init__(self) -> None:
        self.base: BaseTensors | None = None

    def __call__(self, network: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        if prefix or not is_slim(state_dict):
            return
        needed = base_of(state_dict)
        if self.base is None or self.base.base.sha256 != needed.sha256:
            self.base = read_base(find_base(needed))
        completed = complete_state_dict(state_dict, self.base)
        del state_dict[MARKER]
        state_dict.update(completed)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    # as bytes, for which 0 and −0 differ
    return torch.equal(a.contiguous().flatten().view(torch.uint8), b.contiguous().flatten().view(torch.uint8))
