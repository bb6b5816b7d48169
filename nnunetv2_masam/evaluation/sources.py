"""From what a user calls a model to its files: a trainer, a folder, few-shot folds, or a table of another tool."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nnunetv2_masam.evaluation import results
from nnunetv2_masam.evaluation.case_tables import read_measured_elsewhere
from nnunetv2_masam.evaluation.request import ModelSource
from nnunetv2_masam.folds.few_shot import fold_map, read_few_shot_folds
from nnunetv2_masam.nnunet_files import preprocessed_dataset

# the few-shot folds of a model: "trainer@k3", or "trainer@k3s1" for seed 1
FEW_SHOT = re.compile(r"@k\d+(?:s\d+)?$")


class FoundModel(NamedTuple):
    """A model's name, its folder or table, and ``@k3`` if its few-shot folds are meant."""

    name: str
    path: Path
    few_shot: str

    def read(self, file_ending: str, folds: Mapping[int, int] | None = None) -> results.Model:
        """Read its predictions, of the folds that `results.read_model` takes, or its table."""
        if _is_table(self.path.name):
            return read_measured_elsewhere(self.name, self.path)
        return results.read_model(self.name, self.path, file_ending, folds)


def find_models(sources: Sequence[ModelSource], dataset: str | None = None) -> list[FoundModel]:
    """Find and name models.

    Args:
        sources: what to find; all models of the dataset if empty.
        dataset: name of the dataset whose cross-validation is meant; without, sources are paths.

    Raises:
        ValueError: a model is missing, is ambiguous or is given twice.
    """
    chosen: list[tuple[str | None, Path, str]] = []
    for model in sources:
        few_shot = FEW_SHOT.search(model.source) if dataset is not None else None
        source = model.source if few_shot is None else model.source[: few_shot.start()]
        is_path = dataset is None or _is_table(source)
        path = Path(source) if is_path else results.find_model_folder(source, str(dataset))
        chosen.append((model.name, path, few_shot[0] if few_shot else ""))
    if not sources and dataset is not None:
        chosen = [(None, folder, "") for folder in results.find_all_model_folders(dataset)]
    return _name_models(chosen)


def _is_table(source: str) -> bool:
    return source.lower().endswith(".csv")


def _name_models(found: Sequence[tuple[str | None, Path, str]]) -> list[FoundModel]:
    """Names for the tables: the label, else the folder's name, or only the trainer if the rest is shared."""
    named: list[FoundModel] = []
    parts = [folder.resolve().name.split("__") for label, folder, _ in found if label is None]
    shared = all(len(part) == 3 and part[1:] == parts[0][1:] for part in parts)
    for label, path, few_shot in found:
        folder_name = path.stem if _is_table(path.name) else path.resolve().name
        name = label or (folder_name.split("__")[0] if shared else folder_name) + few_shot
        for other in named:
            if other.name == name:
                raise ValueError(f"two models are called {name!r} ({other.path}, {path}): name them with LABEL=folder")
            same = (other.path.resolve(), other.few_shot) == (path.resolve(), few_shot)
            if same and not _is_table(path.name):  # a table can hold several models
                raise ValueError(f"{other.name} and {name} are the same model, {path}: name different folders")
        named.append(FoundModel(name, path, few_shot))
    return named


def folds_to_read(
    dataset: str, few_shot: str, splits: Mapping[int, Sequence[str]] | None, asked: Sequence[int] | None
) -> dict[int, int] | None:
    """Which ``fold_k`` of a model to read, and as which fold of the cross-validation.

    Args:
        dataset: name of the dataset.
        few_shot: ``@k3`` or ``@k3s1`` for few-shot folds, else empty.
        splits: folds of the cross-validation, if they are known.
        asked: folds that were asked for; all if None.
    """
    if few_shot:
        k, _, seed = few_shot.removeprefix("@k").partition("s")
        there = read_few_shot_folds(preprocessed_dataset(dataset))
        mapped = fold_map(there, int(k), int(seed) if seed else None)
        return {fold: base for fold, base in mapped.items() if asked is None or base in asked}
    known = asked if asked is not None else splits
    return None if known is None else {fold: fold for fold in known}
