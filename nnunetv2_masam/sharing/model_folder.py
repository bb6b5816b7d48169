"""A finished model folder of nnU-Net's from one form into another: slim, whole, or with FacT or LoRA folded in.

A model folder holds ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_*.pth``. The result is a new folder; all
but the checkpoints (and, where the network changes, the plans) is copied.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from nnunetv2_masam.architecture import DEFAULTS
from nnunetv2_masam.files import atomic_folder, read_json, refuse_existing, shortened, write_json
from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.increments import merge_increments
from nnunetv2_masam.network.lora import LoRA
from nnunetv2_masam.planning import is_masam_configuration
from nnunetv2_masam.weights.geometry import recognise_vit
from nnunetv2_masam.weights.safe_read import checked_torch_load
from nnunetv2_masam.weights.search import find_checkpoint
from nnunetv2_masam.weights.slim import (
    MARKER,
    BaseTensors,
    base_of,
    complete_state_dict,
    find_base,
    is_slim,
    read_base,
    slim_state_dict,
    unchanged_names,
)
from nnunetv2_masam.weights.weight_files import CheckpointError, bad_file, reading

_FACT = "image_encoder.fact."
_LOW_RANK = (_FACT, ".attn.fact.", ".attn.lora.")  # in the names of what can be folded in
_Module = TypeVar("_Module", bound=nn.Module)
_AN_NNUNET_CHECKPOINT = "a checkpoint that nnU-Net saved (network_weights, trainer_name, …)"


def read_nnunet_checkpoint(path: Path) -> dict[str, Any]:
    """Read an nnU-Net checkpoint; besides tensors and plain containers only numpy's numbers are let in, no code.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is something else, is damaged or contains pickled code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    try:
        with reading(path), torch.serialization.safe_globals(_numpy_numbers()):
            checkpoint = checked_torch_load(path)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can raise anything while it is decoded
        got = f"a file that cannot be read as one ({(str(error).splitlines() or [''])[0][:200]})"
        raise bad_file(path, got, _AN_NNUNET_CHECKPOINT, "Nothing in it was executed.") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("network_weights"), dict):
        remedy = "For the authors' files there is nnUNetv2_masam import-masam, for SAM's MASAM_CHECKPOINT."
        raise bad_file(path, "a file without network_weights", _AN_NNUNET_CHECKPOINT, remedy)
    weights = checkpoint["network_weights"]
    if odd := [name for name, value in weights.items() if name != MARKER and not isinstance(value, Tensor)]:
        raise bad_file(path, f"network_weights that are no tensors ({shortened(odd)})", "tensors", "Copy it again.")
    return checkpoint


def completed_weights(checkpoint: dict[str, Any], sam: Path | None = None) -> dict[str, Tensor]:
    """An nnU-Net checkpoint's network weights, completed from the base if they are slim.

    Args:
        sam: the base; None looks for it as prediction does.
    """
    weights = checkpoint["network_weights"]
    if not is_slim(weights):
        return weights
    return complete_state_dict(weights, read_base(sam or find_base(base_of(weights))))


def slim_folder(folder: Path, out: Path, sam: Path | None = None) -> list[str]:
    """Write ``folder`` to ``out`` with slim checkpoints.

    Args:
        sam: the SAM file that the model was trained from; None looks for it as training does.

    Returns:
        A line for each checkpoint.

    Raises:
        FileNotFoundError: no model there, or no SAM file.
        ValueError: ``out`` is not empty.
        CheckpointError: no tensor of the model is the SAM file's.
    """
    base: BaseTensors | None = None

    def convert(checkpoint: dict[str, Any], path: Path) -> str:
        nonlocal base
        weights = checkpoint["network_weights"]
        if is_slim(weights):
            return f"slim already, needs {base_of(weights).file_name}"
        base = base or read_base(sam or _training_base(weights))
        names = unchanged_names(weights, base)
        if not names:
            remedy = "Name the file that the model was trained from with --sam."
            raise bad_file(path, f"no tensor that equals one of {base.base.file_name}", "SAM's frozen ones", remedy)
        checkpoint["network_weights"] = slim_state_dict(weights, names, base.base)
        return f"{len(names)} of {len(weights)} tensors left out; needs {base.base.file_name}"

    return _convert(folder, out, convert)


def merge_folder(folder: Path, out: Path, sam: Path | None = None, fold: bool = False) -> list[str]:
    """Write ``folder`` to ``out`` with whole checkpoints.

    Args:
        sam: the base; None looks for it as prediction does.
        fold: add the increments of FacT or LoRA to the query and value weights and leave them out. The outputs stay
            the same to rounding; training cannot be continued.

    Returns:
        A line for each checkpoint.

    Raises:
        FileNotFoundError: no model there, or the base is missing.
        ValueError: ``out`` is not empty.
        CheckpointError: ``sam`` is not the base.
    """
    plans = read_json(_required(folder / "plans.json"), dict)
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or not all(isinstance(value, dict) for value in configurations.values()):
        raise ValueError(
            f"{folder / 'plans.json'}: got no configurations; expected the plans that nnU-Net stored there"
        )

    def convert(checkpoint: dict[str, Any], path: Path) -> str:
        was_slim = is_slim(checkpoint["network_weights"])
        checkpoint["network_weights"] = completed_weights(checkpoint, sam)
        done = "completed" if was_slim else "whole already"
        if not fold:
            return done
        _fold(checkpoint, plans, path)
        return f"{done}; increments folded into query and value, optimiser state left out"

    if not fold:
        return _convert(folder, out, convert)
    folded = deepcopy(plans)
    _without_increments(folded)
    return _convert(folder, out, convert, plans=folded)


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
    shared = _under(weights, _FACT)
    for name in folded:
        if not name.endswith(".attn.qkv.weight"):
            continue
        block = name.removesuffix("qkv.weight")
        if cores := _under(weights, block + "fact."):
            rank, dim = shared["u.weight"].shape
            fact = _loaded(FacT(dim, rank, scale, dropout=0.0), shared)
            folded[name] = merge_increments(folded[name], [partial(fact, cores=_loaded(FacTCores(rank), cores))])
        if lora := _under(weights, block + "lora."):
            rank, dim = lora["a_q.weight"].shape
            folded[name] = merge_increments(folded[name], [_loaded(LoRA(dim, rank), lora)])
    return folded


def _under(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _loaded(module: _Module, weights: dict[str, Tensor]) -> _Module:
    module.load_state_dict(weights)
    return module


def _convert(
    folder: Path, out: Path, convert: Callable[[dict[str, Any], Path], str], plans: dict[str, Any] | None = None
) -> list[str]:
    """Write ``folder`` to ``out`` with converted checkpoints and, if given, other plans; all of it or nothing."""
    for name in ("plans.json", "dataset.json"):
        read_json(_required(folder / name), dict)
    files = sorted(folder.glob("fold_*/checkpoint_*.pth"))
    if not files:
        raise FileNotFoundError(f"no fold_*/checkpoint_*.pth in {folder}: not a model folder of nnU-Net's")
    refuse_existing(out)
    report = []
    with atomic_folder(out) as partial:
        unwanted = shutil.ignore_patterns("checkpoint_*.pth", "*.partial")
        shutil.copytree(folder, partial, dirs_exist_ok=True, ignore=unwanted)
        for path in files:
            checkpoint = read_nnunet_checkpoint(path)
            done = convert(checkpoint, path)
            target = partial / path.relative_to(folder)
            torch.save(checkpoint, target)
            sizes = f"{path.stat().st_size / 1e6:.1f} MB → {target.stat().st_size / 1e6:.1f} MB"
            report.append(f"{path.relative_to(folder)}: {done}; {sizes}")
        if plans is not None:
            write_json(partial / "plans.json", plans, indent=4)
    return report


def _required(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}: not a model folder, which has fold_* as well")
    return path


def _training_base(weights: dict[str, Tensor]) -> Path:
    vit = str(recognise_vit(weights))
    found = find_checkpoint(vit)
    if found is None:
        raise FileNotFoundError(
            f"no SAM weights for {vit} in MASAM_CHECKPOINT or the cache; name the file that the model was trained "
            "from with --sam"
        )
    return found


def _without_increments(plans: dict[str, Any]) -> None:
    for configuration in plans["configurations"].values():
        if is_masam_configuration(configuration):
            configuration["architecture"]["arch_kwargs"].update(fact_rank=0, lora_rank=0)


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
