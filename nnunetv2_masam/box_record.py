"""Record in ``dataset.json`` which channel holds boxes and where they come from, and check that a dataset has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHANNEL_KEY = "masam_box_channel"  # in dataset.json: number of the box channel
CHANNEL_NAME = "noNorm"  # nnU-Net chooses the normalisation by a channel's name; this one leaves it as it is
RECORD_KEY = "masam_boxes"  # in dataset.json: where its boxes come from
RECORD_FILE = "masam_boxes.json"  # the same beside images for prediction
FROM_REFERENCE, DRAWN = "reference", "drawn"


def add_box_channel(dataset_json: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """A ``dataset.json`` with one more channel, the box.

    Raises:
        ValueError: it has one already.
    """
    if CHANNEL_KEY in dataset_json:
        raise ValueError(f"dataset.json: channel {dataset_json[CHANNEL_KEY]} is a box channel already")
    names = dataset_json.get("channel_names") or dataset_json.get("modality")
    if not names:
        raise ValueError("dataset.json: no channel_names")
    number = len(names)
    return {
        **{key: value for key, value in dataset_json.items() if key not in ("modality", "dataset")},
        "channel_names": {**names, str(number): CHANNEL_NAME},
        CHANNEL_KEY: number,
        RECORD_KEY: dict(record),
    }


def check_box_channel(dataset_json: Mapping[str, Any], trainer: str) -> None:
    """Refuse a dataset whose last channel is not a box.

    Raises:
        ValueError: with the command that writes one.
    """
    names = {int(number): name for number, name in dataset_json["channel_names"].items()}
    last = max(names)
    if dataset_json.get(CHANNEL_KEY) != last or str(names[last]).casefold() != CHANNEL_NAME.casefold():
        raise ValueError(
            f"{trainer} takes a box prompt from the dataset's last channel, but dataset.json has the channels "
            f"{dataset_json['channel_names']} and {CHANNEL_KEY}: {dataset_json.get(CHANNEL_KEY)}; expected the last "
            f"one to be called {CHANNEL_NAME} and its number under {CHANNEL_KEY}. Write such a dataset with "
            "nnUNetv2_masam boxes dataset -d DATASET -o DatasetXXX_Name --label LABEL"
        )
