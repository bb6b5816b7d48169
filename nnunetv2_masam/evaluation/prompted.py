"""Recognise models with box prompts, and where their boxes came from.

A model that was given a box around the reference knows part of the answer. Its Dice stands in the tables, marked, but
no difference between it and a model without such help is tested unless the user asks for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_masam.box_record import CHANNEL_KEY, DRAWN, FROM_REFERENCE, RECORD_FILE, RECORD_KEY
from nnunetv2_masam.files import read_json

PREDICTION_ARGUMENTS = "predict_from_raw_data_args.json"  # which nnUNetv2_predict leaves beside its predictions


@dataclass(frozen=True)
class Prompt:
    """Prompt that a model's predictions were made with.

    Attributes:
        source: ``reference`` (an oracle), ``drawn`` by a person, or ``unknown``.
        margin_mm: of boxes around references, where it is known.
    """

    source: str
    margin_mm: float | None = None

    @property
    def text(self) -> str:
        """For tables."""
        margin = "" if self.margin_mm is None else f", {self.margin_mm:g} mm"
        return {FROM_REFERENCE: f"oracle box{margin}", DRAWN: "drawn box"}.get(self.source, "box, origin unknown")


def find_prompt(folder: Path, dataset_json: Mapping[str, Any] | None, cross_validated: bool) -> Prompt | None:
    """The prompt of the predictions in a folder; None for a model without prompts.

    Args:
        folder: of a model or of predictions.
        dataset_json: the one in it.
        cross_validated: the predictions are of a cross-validation, so of the training data's own boxes.
    """
    if cross_validated:
        record = (dataset_json or {}).get(RECORD_KEY)
    else:
        record = _record_of_inputs(folder)
    if record is not None:
        margin = record.get("margin_mm") if isinstance(record, dict) else "missing"
        if margin is not None and not isinstance(margin, (int, float)):
            raise ValueError(
                f"{folder}: the record of its boxes is {record!r}, expected source and margin_mm (a number)"
            )
        return Prompt(str(record.get("source")), margin)
    return Prompt("unknown") if CHANNEL_KEY in (dataset_json or {}) else None


def _record_of_inputs(folder: Path) -> dict[str, Any] | None:
    """What ``nnUNetv2_masam boxes`` left beside the images that were predicted, if both can still be found."""
    if not (folder / PREDICTION_ARGUMENTS).is_file():
        return None
    images = read_json(folder / PREDICTION_ARGUMENTS, dict).get("list_of_lists_or_source_folder")
    if not isinstance(images, str) or not (Path(images) / RECORD_FILE).is_file():
        return None
    return dict(read_json(Path(images) / RECORD_FILE, dict))


def oracle_prompts(oracles: Mapping[str, float | None], names: Sequence[str]) -> dict[str, Prompt]:
    """Prompts of the models whose boxes came from the reference.

    Args:
        oracles: the boxes' margin in mm, or None, by model.
        names: of all models.

    Raises:
        ValueError: there is no such model.
    """
    for name in oracles:
        if name not in names:
            raise ValueError(f"--oracle {name}: the models are {', '.join(names)}")
    return {name: Prompt(FROM_REFERENCE, margin) for name, margin in oracles.items()}


def prompt_notes(prompts: Mapping[str, Prompt | None], baseline: str, tested: Sequence[str]) -> list[str]:
    """Notes on models with box prompts, and on what is therefore not claimed.

    Args:
        prompts: by model.
        baseline: name of the baseline.
        tested: models whose difference from it is tested.
    """
    prompted = [f"{name} ({prompt.text})" for name, prompt in prompts.items() if prompt is not None]
    if not prompted:
        return []
    note = f"given box prompts: {', '.join(prompted)}. An oracle box is made of the reference itself."
    if len(prompted) < len(prompts):
        note += " Such results say what a user's box is worth, not which model finds more by itself"
        untested = [name for name in prompts if name != baseline and name not in tested]
        if untested:
            note += f"; no difference from {baseline} is tested for {', '.join(untested)} (--across-prompts)"
        note += "."
    return [note]
