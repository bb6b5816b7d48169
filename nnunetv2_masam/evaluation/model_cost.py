"""Parameters, times and sizes of a model, read from the checkpoints and logs in ``fold_k``.

* Parameters are counted in the checkpoint's ``network_weights``, tensors that share memory once (nnU-Net's
  U-Nets store most of them several times over). Trained parameters are those that the optimiser keeps a state
  for.
* The training time is the sum of ``Epoch time`` over the logs; an epoch that was run again after an
  interruption counts with its last time.
* The inference time is the median time between the ``predicting`` lines of the validation. Reading the
  preprocessed case and waiting for the export are part of it.
* ``fold_k/masam_cost.json`` takes precedence: a trainer that knows better may write ``parameters``,
  ``trained_parameters``, ``peak_memory_bytes``, ``seconds_per_epoch``, ``inference_seconds_per_case``. Peak
  memory comes from nowhere else, as nnU-Net does not record it.

"""

from __future__ import annotations

import contextlib
import re
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nnunetv2_masam.files import read_json

WEIGHTS_KEY = "masam_weights"  # of the record of pretrained weights in our trainers' checkpoints
MODEL_FILES = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth")
NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")
EPOCH = re.compile(r"^\S+ \S+: +Epoch (?:(\d+)|time: (\d+(?:\.\d+)?) s) *$", re.MULTILINE)
PREDICTING = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+): +predicting (\S+) *$", re.MULTILINE)
COSTS = {  # heading in tables, factor, decimals
    "parameters": ("parameters (million)", 1e-6, 2),
    "trained_parameters": ("trained (million)", 1e-6, 2),
    "training_hours_per_fold": ("training per fold (h)", 1, 2),
    "seconds_per_epoch": ("epoch (s)", 1, 1),
    "epochs": ("epochs", 1, 0),
    "inference_seconds_per_case": ("inference per case (s)", 1, 1),
    "peak_memory_gib": ("peak memory (GiB)", 1, 2),
    "checkpoint_mib": ("checkpoint (MiB)", 1, 1),
}


def model_costs(cases: pd.DataFrame) -> pd.DataFrame:
    """Costs by model (index), the mean over the folds that its predictions come from; NaN where nothing is recorded.

    Args:
        cases: ``model`` and the file ``prediction`` of each row.
    """
    found = {}
    for model, files in cases.groupby("model", sort=False)["prediction"]:
        found[model] = pd.DataFrame(map(fold_cost, _fold_folders(files)), columns=list(COSTS)).astype(float).mean()
    return pd.DataFrame(found).T


def fold_cost(folder: Path) -> dict[str, float | None]:
    """Costs of one fold; what is not recorded is missing or None."""
    costs: dict[str, float | None] = {}
    checkpoint = _checkpoint(folder)
    if checkpoint is not None:
        costs["checkpoint_mib"] = checkpoint.stat().st_size / 2**20
        costs["parameters"], costs["trained_parameters"] = count_parameters(checkpoint)
    logs = sorted(folder.glob("training_log_*.txt"))
    costs |= _times("\n".join(log.read_text(encoding="utf-8", errors="replace") for log in logs))
    if (folder / "masam_cost.json").is_file():
        stated = _read_stated(folder / "masam_cost.json")
        if (peak := stated.get("peak_memory_bytes")) is not None:
            costs["peak_memory_gib"] = peak / 2**30
        for name in ("parameters", "trained_parameters", "seconds_per_epoch", "inference_seconds_per_case"):
            if stated.get(name) is not None:
                costs[name] = stated[name]
    return costs


def _read_stated(path: Path) -> dict[str, float | None]:
    stated: dict[str, float | None] = read_json(path, dict)
    for name, value in stated.items():
        if not isinstance(value, (int, float, type(None))):
            raise ValueError(f"{path}: {name} is {value!r}, expected a number. Correct it, or remove the file.")
    return stated


def count_parameters(checkpoint: Path) -> tuple[int | None, int | None]:
    """Parameters and trained parameters in a checkpoint; None where it is no such checkpoint."""
    try:
        content = _read(checkpoint)
        tensors = [t for key, t in content["network_weights"].items() if not key.endswith(NOT_PARAMETERS)]
        counted = {(t.data_ptr(), t.shape): t.numel() for t in tensors}
        return sum(counted.values()), _with_optimizer_state(content.get("optimizer_state"))
    except Exception:  # a file of another kind can raise anything, and costs only these two numbers
        return None, None


def pretraining_notes(cases: pd.DataFrame) -> list[str]:
    """Notes on the data that a model's pretrained weights were trained on, where its checkpoint records it.

    Args:
        cases: ``model`` and the file ``prediction`` of each row.
    """
    notes = []
    for model, files in cases.groupby("model", sort=False)["prediction"]:
        for folder in _fold_folders(files):
            checkpoint = _checkpoint(folder)
            with contextlib.suppress(Exception):  # as above
                stored = _read(checkpoint)["init_args"][WEIGHTS_KEY] if checkpoint else {}
                if trained_on := stored.get("trained_on", stored.get("seen")):  # the second is its first name
                    notes.append(
                        f"{model} started from weights ({stored.get('name') or stored['file']}) that were trained on: "
                        f"{trained_on}. If the cases are among these, mark the model with --seen"
                    )
                    break
    return notes


def _read(checkpoint: Path) -> dict[str, Any]:
    """The content of a checkpoint, with tensors mapped from the file; code in it is refused."""
    kinds: list[Any] = [np.dtype, *(type(np.dtype(kind)) for kind in "fdilq?")]
    # nnU-Net logs NumPy's numbers, whose module has another name in NumPy 1 than in 2
    with torch.serialization.safe_globals([_scalar("core"), _scalar("_core"), *kinds]):
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return content


def _scalar(core: str) -> Callable[..., Any]:
    def scalar(*args: Any) -> Any:
        return np.float64(0).__reduce__()[0](*args)

    scalar.__module__, scalar.__qualname__ = f"numpy.{core}.multiarray", "scalar"
    return scalar


def _fold_folders(files: Iterable[Path]) -> list[Path]:
    """The folders of nnU-Net's folds that predictions come from."""
    return sorted({file.parent.parent for file in files if file.parent.name == "validation" and file.suffix != ".csv"})


def _checkpoint(folder: Path) -> Path | None:
    return next((folder / name for name in MODEL_FILES if (folder / name).is_file()), None)


def _with_optimizer_state(optimizer_state: Any) -> int | None:
    """Momentum has the parameter's shape, step counters do not: the largest tensor of each state counts."""
    if not isinstance(optimizer_state, dict) or not optimizer_state.get("state"):
        return None
    total = 0
    for state in optimizer_state["state"].values():
        total += max((value.numel() for value in state.values() if isinstance(value, Tensor)), default=0)
    return total or None


def _times(logs: str) -> dict[str, float | None]:
    seconds_of_epoch: dict[str, float] = {}
    epoch = "0"
    for number, seconds in EPOCH.findall(logs):
        if number:
            epoch = number
        else:
            seconds_of_epoch[epoch] = float(seconds)
    epochs = list(seconds_of_epoch.values())
    # the last time of each case, where the validation was run again; a damaged line is no date
    moments = sorted({case: moment for moment, case in PREDICTING.findall(logs)}.values())
    gaps = np.diff(pd.to_datetime(pd.Series(moments, dtype=object), errors="coerce").dropna()) / np.timedelta64(1, "s")
    return {
        "epochs": float(len(epochs)) if epochs else None,
        "seconds_per_epoch": statistics.median(epochs) if epochs else None,
        "training_hours_per_fold": sum(epochs) / 3600 if epochs else None,
        "inference_seconds_per_case": float(np.median(gaps)) if len(gaps) else None,
    }
