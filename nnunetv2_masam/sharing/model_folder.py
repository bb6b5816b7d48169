"""Convert a finished model folder of nnU-Net: to slim checkpoints, to whole ones, or with FacT or LoRA folded in.

A model folder holds ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_*.pth``. The result is a new folder.
Everything but the checkpoints (and, where the network changes, the plans) is copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nnunetv2_masam.architecture import DEFAULTS
from nnunetv2_masam.files import atomic_folder, read_json, refuse_existing, write_json
from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.increments import Increments, merge_increments
from nnunetv2_masam.network.lora import LoRA
from nnunetv2_masam.plans_file import is_masam_configuration, read_plans
from nnunetv2_masam.sharing.requests import MergeRequest, SlimRequest
from nnunetv2_masam.weights.provenance import stored_provenance
from nnunetv2_masam.weights.slim import (
    BaseTensors,
    SlimBase,
    base_of,
    find_base,
    is_slim,
    read_base,
    slim_state_dict,
    unchanged_names,
)
from nnunetv2_masam.weights.trained import completed_weights, read_nnunet_checkpoint
from nnunetv2_masam.weights.weight_files import bad_file

_FACT = "image_encoder.fact."
_LOW_RANK = (_FACT, ".attn.fact.", ".attn.lora.")  # in the names of what can be folded in
_Module = TypeVar("_Module", bound=nn.Module)


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """Result of converting a checkpoint.

    Attributes:
        path: within the model folder.
        change: what was done, for people.
        bytes_before, bytes_after: sizes of the two files.
    """

    path: Path
    change: str
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class ConvertedFolder:
    """What was written.

    Attributes:
        folder: the new model folder.
        checkpoints: what became of each.
    """

    folder: Path
    checkpoints: tuple[ConvertedCheckpoint, ...]


def slim_folder(request: SlimRequest) -> ConvertedFolder:
    """Write a model folder with slim checkpoints.

    Raises:
        FileNotFoundError: no model there, or no SAM file.
        ValueError: the output folder is not empty, or the plans cannot be read.
        CheckpointError: no tensor of the model is the SAM file's.
    """
    base: BaseTensors | None = None

    def convert(checkpoint: dict[str, Any], path: Path) -> str:
        nonlocal base
        weights = checkpoint["network_weights"]
        if is_slim(weights):
            return f"slim already, needs {base_of(weights).file_name}"
        base = base or read_base(request.sam or _training_base(checkpoint, path))
        names = unchanged_names(weights, base)
        if not names:
            remedy = "Name the file that the model was trained from with --sam."
            raise bad_file(path, f"no tensor that equals one of {base.base.file_name}", "SAM's frozen ones", remedy)
        checkpoint["network_weights"] = slim_state_dict(weights, names, base.base)
        return f"{len(names)} of {len(weights)} tensors left out; needs {base.base.file_name}"

    _read_model_plans(request.folder)
    return _convert(request.folder, request.output, convert)


def merge_folder(request: MergeRequest) -> ConvertedFolder:
    """Write a model folder with whole checkpoints.

    Raises:
        FileNotFoundError: no model there, or the base is missing.
        ValueError: the output folder is not empty, or the plans cannot be read.
        CheckpointError: the SAM file is not the base.
    """
    plans = _read_model_plans(request.folder)

    def convert(checkpoint: dict[str, Any], path: Path) -> str:
        was_slim = is_slim(checkpoint["network_weights"])
        checkpoint["network_weights"] = completed_weights(checkpoint, request.sam)
        done = "completed" if was_slim else "whole already"
        if not request.fold:
            return done
        _fold(checkpoint, plans, path)
        return f"{done}; increments folded into query and value, optimiser state left out"

    if not request.fold:
        return _convert(request.folder, request.output, convert)
    folded = deepcopy(plans)
    _without_increments(folded)
    return _convert(request.folder, request.output, convert, plans=folded)


def _fold(checkpoint: dict[str, Any], plans: dict[str, Any], path: Path) -> None:
    """Fold the increments of a whole checkpoint, with the scale that the plans beside it name."""
    try:
        configuration = plans["configurations"][checkpoint["init_args"]["configuration"]]
        scale = configuration["architecture"]["arch_kwargs"].get("fact_scale", DEFAULTS.fact_scale)
        checkpoint["network_weights"] = fold_increments(checkpoint["network_weights"], scale)
        if "plans" in checkpoint["init_args"]:
            _without_increments(checkpoint["init_args"]["plans"])
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        got = f"a checkpoint that does not fit the plans beside it ({type(error).__name__}: {error})"
        raise bad_file(path, got, "one of a MA-SAM trainer, whole", "Copy the model folder again.") from error
    checkpoint.pop("optimizer_state", None)  # of parameters that are gone


@torch.no_grad()
def fold_increments(weights: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Network weights without FacT and LoRA whose query and value projections have the increments added.

    Args:
        weights: of a network of ours, whole.
        scale: the network's ``fact_scale``.
    """
    if any(name.startswith("image_encoder.vit.") for name in weights):
        raise ValueError("--fold: got a network with an encoder of timm; increments fold into SAM's encoder only")
    folded = {name: tensor for name, tensor in weights.items() if not any(part in name for part in _LOW_RANK)}
    for name in folded:
        if not name.endswith(".attn.qkv.weight"):
            continue
        block = name.removesuffix("qkv.weight")
        increments: list[Increments] = []
        if cores := _under(weights, block + "fact."):
            width = folded[name].shape[1]
            shared = _under(weights, f"{_FACT}{width}.") or _under(weights, _FACT)  # a TinyViT has some of each width
            rank, dim = shared["u.weight"].shape
            fact = _loaded(FacT(dim, rank, scale, dropout=0.0), shared)
            increments.append(partial(fact, cores=_loaded(FacTCores(rank), cores)))
        if lora := _under(weights, block + "lora."):
            rank, dim = lora["a_q.weight"].shape
            increments.append(_loaded(LoRA(dim, rank), lora))
        biases = weights.get(block + "attention_biases")  # (heads, …); then the projection is ordered by head
        heads = 1 if biases is None else len(biases)
        by_part = folded[name].unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)  # (3·E, E)
        merged = merge_increments(by_part, increments)
        folded[name] = merged.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
    return folded


def _under(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _loaded(module: _Module, weights: dict[str, Tensor]) -> _Module:
    module.load_state_dict(weights)
    return module


def _convert(
    folder: Path, out: Path, convert: Callable[[dict[str, Any], Path], str], plans: dict[str, Any] | None = None
) -> ConvertedFolder:
    """Write ``folder`` to ``out`` with converted checkpoints and, if given, other plans. An error leaves no folder."""
    read_json(_required(folder / "dataset.json"), dict)
    files = sorted(folder.glob("fold_*/checkpoint_*.pth"))
    if not files:
        raise FileNotFoundError(f"no fold_*/checkpoint_*.pth in {folder}: not a model folder of nnU-Net's")
    refuse_existing(out)
    converted = []
    with atomic_folder(out) as partial:
        unwanted = shutil.ignore_patterns("checkpoint_*.pth", "*.partial")
        shutil.copytree(folder, partial, dirs_exist_ok=True, ignore=unwanted)
        for path in files:
            checkpoint = read_nnunet_checkpoint(path)
            change = convert(checkpoint, path)
            name = path.relative_to(folder)
            torch.save(checkpoint, partial / name)
            sizes = path.stat().st_size, (partial / name).stat().st_size
            converted.append(ConvertedCheckpoint(name, change, *sizes))
        if plans is not None:
            write_json(partial / "plans.json", plans, indent=4)
    return ConvertedFolder(out, tuple(converted))


def _read_model_plans(folder: Path) -> dict[str, Any]:
    return read_plans(_required(folder / "plans.json"))


def _required(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}: not a model folder, which has fold_* as well")
    return path


def _training_base(checkpoint: dict[str, Any], path: Path) -> Path:
    """The SAM file that a checkpoint says it was trained from."""
    provenance = stored_provenance(checkpoint)
    if provenance is None:
        remedy = (
            "A model trained from scratch has no weights in common with a SAM file. If it was trained from one "
            "(-pretrained_weights is not recorded), name it with --sam."
        )
        raise bad_file(path, "a checkpoint that names no SAM file", "one of a model trained from a SAM file", remedy)
    return find_base(SlimBase(provenance.file, provenance.bytes, provenance.sha256))


def _without_increments(plans: dict[str, Any]) -> None:
    for configuration in plans["configurations"].values():
        if is_masam_configuration(configuration):
            configuration["architecture"]["arch_kwargs"].update(fact_rank=0, lora_rank=0)
