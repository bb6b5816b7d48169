"""Explain why a checkpoint does not fit the training that should continue from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import read_json

_KEYS = {"labels": "labels", "channel_names": "channels"}


def changed_dataset(model_folder: Path, dataset_json: Mapping[str, Any]) -> str | None:
    """Describe in one sentence how dataset.json has changed since the training began; None if it has not.

    Args:
        model_folder: nnU-Net's, with the ``dataset.json`` of the training's start.
        dataset_json: the dataset's of today.
    """
    path = model_folder / "dataset.json"
    if not path.is_file():
        return None
    before = read_json(path, dict)
    for key, name in _KEYS.items():
        if before.get(key) != dataset_json.get(key):
            return (
                f"{model_folder}: this training began with the {name} {_listed(before, key)}, and dataset.json has "
                f"{_listed(dataset_json, key)} now. Restore dataset.json to continue, or train anew (without --c), "
                "with nnUNet_results set to another folder"
            )
    return None


def _listed(dataset_json: Mapping[str, Any], key: str) -> str:
    values = dataset_json.get(key) or {}
    return ", ".join(f"{name}: {value}" for name, value in values.items()) or "none"
