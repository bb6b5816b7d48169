"""The label map of docs/datasets.md makes BTCV's names and those of AMOS22 meet."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nnunetv2_masam.datasets.btcv import LABELS, spec
from nnunetv2_masam.evaluation.labels import match_by_name, read_label_map

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "datasets.md"

# as in the dataset's dataset.json, misspelling included; nnU-Net's conversion takes them from there
AMOS = (
    "background,spleen,right kidney,left kidney,gall bladder,esophagus,liver,stomach,arota,postcava,pancreas,"
    "right adrenal gland,left adrenal gland,duodenum,bladder,prostate/uterus"
)


@pytest.mark.parametrize("merged", [True, False])
def test_eleven_organs_meet(merged: bool) -> None:
    block = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block is not None
    label_map = read_label_map(json.loads(block[1]), str(DOCUMENT))
    amos = {"labels": {name: value for value, name in enumerate(AMOS.split(","))}}
    btcv = spec(merge_adrenal_glands=merged).dataset_json(30)
    labels, notes = match_by_name(amos, {"model": btcv}, label_map)
    found = {part.name: (part.reference_values, part.prediction_values) for part in labels["model"].structures}
    assert found.pop("adrenal gland") == ((11, 12), (12,) if merged else (12, 13))
    amos_name = {"gallbladder": "gall bladder", "aorta": "arota", "inferior vena cava": "postcava"}
    expected = {
        name: ((amos["labels"][amos_name.get(name, name)],), (value,))
        for name, value in LABELS.items()
        if name not in ("background", "portal vein and splenic vein") and "adrenal" not in name
    }
    assert found == expected
    assert len(expected) == 10
    (left_out,) = (note for note in notes if note.startswith("labels left out"))
    assert left_out == (
        "labels left out: duodenum (not in model), bladder (not in model), prostate/uterus (not in model)"
    )
