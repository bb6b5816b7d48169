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
import itertools
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from nnunetv2_masam.files import read_json
from nnunetv2_masam.weights.provenance import stored_provenance
from nnunetv2_masam.weights.trained import read_nnunet_checkpoint

MODEL_FILES = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth")
NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")
TIMED_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+): +(.*?) *$")
EPOCH_TIME = re.compile(r"Epoch time: (\d+(?:\.\d+)?) s")


COSTS = (
    "parameters",
    "trained_parameters",
    "training_hours_per_fold",
    "seconds_per_epoch",
    "epochs",
    "inference_seconds_per_case",
    "peak_memory_gib",
    "checkpoint_mib",
)


def model_costs(cases: pd.DataFrame) -> pd.DataFrame:
    """Costs by model (index), the mean over the folds that its predictions come from; NaN where nothing is recorded.

    Args:
        cases: ``model`` and the file ``prediction`` of each row.
    """
    found = {}
    for model, files in cases.groupby("model", sort=False)["prediction"]:
        found[model] = pd.DataFrame(map(fold_cost, _fold_folders(files)), columns=COSTS).astype(float).mean()
    return pd.DataFrame(found).T


def fold_cost(folder: Path) -> dict[str, float | None]:
    """Costs of one fold; what is not recorded is missing or None."""
    costs: dict[str, float | None] = {}
    checkpoint = _checkpoint(folder)
    if checkpoint is not None:
        costs["checkpoint_mib"] = checkpoint.stat().st_size / 2**20
        costs["parameters"], costs["trained_parameters"] = count_parameters(checkpoint)
    costs |= _times(list(_timed_lines(sorted(folder.glob("training_log_*.txt")))))
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
    """Parameters and trained parameters in a checkpoint; None where it is no such checkpoint.

    Tensors are mapped from the file rather than read, and no code in it is executed.
    """
    try:
        content = read_nnunet_checkpoint(checkpoint, values=False)
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
                stored = stored_provenance(read_nnunet_checkpoint(checkpoint, values=False)) if checkpoint else None
                if stored is not None and stored.trained_on:
                    notes.append(
                        f"{model} started from weights ({stored.name or stored.file}) that were trained on: "
                        f"{stored.trained_on}. If the cases are among these, mark the model with --seen"
                    )
                    break
    return notes


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


def _timed_lines(logs: Sequence[Path]) -> Iterator[tuple[datetime, str]]:
    for log in logs:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := TIMED_LINE.match(line):
                with contextlib.suppress(ValueError):  # a damaged line is no date
                    yield datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f"), match[2]


def _times(lines: Sequence[tuple[datetime, str]]) -> dict[str, float | None]:
    seconds_of_epoch: dict[int, float] = {}
    predictions: dict[str, datetime] = {}
    epoch = 0
    for moment, text in lines:
        words = text.split()
        if len(words) == 2 and words[0] == "Epoch" and words[1].isdigit():
            epoch = int(words[1])
        elif match := EPOCH_TIME.match(text):
            seconds_of_epoch[epoch] = float(match[1])
        elif len(words) == 2 and words[0] == "predicting":
            if words[1] in predictions:  # the validation was run again
                predictions.clear()
            predictions[words[1]] = moment
    moments = list(predictions.values())
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(moments)]
    epochs = list(seconds_of_epoch.values())
    return {
        "epochs": float(len(epochs)) if epochs else None,
        "seconds_per_epoch": statistics.median(epochs) if epochs else None,
        "training_hours_per_fold": sum(epochs) / 3600 if epochs else None,
        "inference_seconds_per_case": statistics.median(gaps) if gaps else None,
    }
