"""What a model costs, from what nnU-Net leaves in ``fold_k``: checkpoints and text logs.

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

What is not recorded is None.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import pickle
import re
import statistics
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from nnunetv2_masam.evaluation.results import NO_FOLD, Model
from nnunetv2_masam.files import read_json

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth")
NOT_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")
TIMED_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+): +(.*?) *$")
EPOCH_TIME = re.compile(r"Epoch time: (\d+(?:\.\d+)?) s")


@dataclass(frozen=True)
class Cost:
    """Costs of one model: the mean over its folds of what each fold recorded."""

    parameters: float | None = None
    trained_parameters: float | None = None
    training_hours_per_fold: float | None = None
    seconds_per_epoch: float | None = None
    epochs: float | None = None
    inference_seconds_per_case: float | None = None
    peak_memory_gib: float | None = None
    checkpoint_mib: float | None = None


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a checkpoint, not loaded: where it lies and its shape."""

    storage: str
    offset: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def model_cost(model: Model) -> Cost:
    """Costs of a model, over the folds that its predictions come from."""
    folders = {case.path.parent.parent for case in model.cases.values() if case.fold != NO_FOLD}
    found = [fold_cost(folder) for folder in sorted(folders)]
    means: dict[str, float | None] = {}
    for name in (entry.name for entry in fields(Cost)):
        values = [value for cost in found if (value := getattr(cost, name)) is not None]
        means[name] = statistics.fmean(values) if values else None
    return Cost(**means)


def fold_cost(folder: Path) -> Cost:
    """Costs of one fold."""
    costs: dict[str, float | None] = {}
    checkpoint = next((folder / name for name in CHECKPOINTS if (folder / name).is_file()), None)
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
    return Cost(**costs)


def _read_stated(path: Path) -> dict[str, float | None]:
    stated: dict[str, float | None] = read_json(path, dict)
    for name, value in stated.items():
        if not isinstance(value, (int, float, type(None))):
            raise ValueError(f"{path}: {name} is {value!r}, expected a number. Correct it, or remove the file.")
    return stated


def count_parameters(checkpoint: Path) -> tuple[int | None, int | None]:
    """Parameters and trained parameters in a checkpoint; None where it is no such checkpoint."""
    try:
        content = inspect_checkpoint(checkpoint)
        weights = content["network_weights"]
        counted = {tensor: tensor.size for key, tensor in weights.items() if not key.endswith(NOT_PARAMETERS)}
        return sum(counted.values()), _with_optimizer_state(content.get("optimizer_state"))
    except Exception:  # a damaged pickle can raise anything, and costs only these two numbers
        return None, None


def _with_optimizer_state(optimizer_state: Any) -> int | None:
    """Momentum has the parameter's shape, step counters do not: the largest tensor of each state counts."""
    if not isinstance(optimizer_state, dict) or not optimizer_state.get("state"):
        return None
    total = 0
    for state in optimizer_state["state"].values():
        total += max((value.size for value in state.values() if isinstance(value, StoredTensor)), default=0)
    return total or None


def inspect_checkpoint(path: Path) -> Any:
    """Read the structure of a ``torch.save`` file without loading its tensors and without running its code.

    Returns:
        what was saved, with every tensor as a `StoredTensor` and every other object as an inert stand-in.
    """
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as file:
            return _Inspector(file).load()


class _Inert:
    """Stands in for any object: takes whatever a pickle would build it from, and does nothing with it."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass


class _Inspector(pickle.Unpickler):
    """An unpickler that knows dictionaries and tensors, and finds nothing that could be executed."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name.startswith("_rebuild_tensor"):
            return lambda storage, offset, shape, *_: StoredTensor(storage, offset, tuple(shape))
        if module == "torch._utils" and name.startswith("_rebuild_parameter"):
            return lambda tensor, *_: tensor
        return _Inert

    def persistent_load(self, pid: Any) -> str:
        return str(pid[2])


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
