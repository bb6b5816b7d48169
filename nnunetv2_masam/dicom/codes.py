"""Names, codes and colours of segments: read from a CSV file, or proposed from pydicom's dictionaries."""

from __future__ import annotations

import colorsys
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from nnunetv2_masam.csv_tables import read_csv_table
from nnunetv2_masam.dicom import dicom_module
from nnunetv2_masam.nnunet_files import foreground_labels, read_dataset_json

PRIVATE_SCHEME = "99MASAM"
# cells of the table: form, and what is expected
_CODE = (re.compile(r"[^:]{1,16}:[^:]{1,16}:[^:]{1,64}"), "value:scheme:meaning such as 10200004:SCT:Liver")
_FORMS = {
    "label": (re.compile(r"0*[1-9]\d*( +0*[1-9]\d*)*", re.ASCII), "whole numbers above 0, separated by blanks"),
    "category": _CODE,
    "type": _CODE,
    "colour": (re.compile(r"#[0-9a-fA-F]{6}"), "#RRGGBB"),
    "modifier": _CODE,
}
# name in CID 7150: context groups of its types; a code belongs to the first that has it
_CATEGORIES = {
    "MorphologicallyAbnormalStructure": (7159,),
    "PhysicalObject": (7157, 7193),
    "AnatomicalStructure": (7153, 7154, 7155, 7156, 7160, 7192, 4),
    "Tissue": (7166,),
}


@dataclass(frozen=True)
class Segment:
    """A row of the table; codes are ``value:scheme:meaning``, such as ``10200004:SCT:Liver``.

    Attributes:
        label: values of the label image that belong to it, separated by blanks; several for a region.
        colour: ``#RRGGBB``.
        modifier: code of left or right, or empty.
    """

    label: str
    name: str
    category: str
    type: str
    colour: str
    modifier: str = ""

    @property
    def labels(self) -> list[int]:
        """Values of the label image."""
        return sorted({int(value) for value in self.label.split()})


def read_segments(path: Path) -> list[Segment]:
    """Segments of a ``dataset.json``, or of a CSV file with the columns ``label, name`` and, if wanted, the others.

    What the CSV leaves empty is proposed. The labels of a region are separated by blanks.

    Raises:
        ValueError: a cell is of another form, or a row is there twice; the message names the line.
    """
    if path.suffix == ".json":
        labels = foreground_labels(read_dataset_json(path, with_channels=False)).items()
        listed = [(name, value if isinstance(value, list) else [value]) for name, value in labels]
        return [propose(number, name, " ".join(map(str, values))) for number, (name, values) in enumerate(listed)]
    segments: list[Segment] = []
    for line, row in read_csv_table(path, ("label", "name"), tuple(_FORMS)):
        given = {column: row[column] for column in _FORMS if row.get(column)}
        for column, text in {"label": "", **given}.items():
            form, expected = _FORMS[column]
            if form.fullmatch(text) is None:
                raise ValueError(f"{path}, line {line}: {column}: got {text!r}, expected {expected}")
        segments.append(replace(propose(len(segments), row["name"] or f"label {row['label']}", row["label"]), **given))
    if len({tuple(segment.labels) for segment in segments}) < len(segments):
        raise ValueError(f"{path}: has two rows for the same labels, expected one")
    return segments


def propose(number: int, name: str, label: str) -> Segment:
    """A segment with the SNOMED CT code that pydicom knows for its name, else with a private one.

    Args:
        number: of the segment from 0, for its colour.
        name: such as ``kidney_left``; left and right become the modifier.
        label: as in :class:`Segment`.
    """
    colour = "#" + "".join(f"{round(255 * part):02X}" for part in colorsys.hsv_to_rgb(number * 0.381966, 0.75, 0.95))
    words = re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    sides = [word for word in words if word in ("left", "right")]
    known, codes = _known_types(), dicom_module("pydicom.sr.codedict").codes
    for left_out in ([], sides) if len(sides) == 1 else ([],):
        key = "".join(word for word in words if word not in left_out)
        if found := known.get(key) or known.get(key.removesuffix("s")):
            modifier = _text(getattr(codes.cid244, sides[0].capitalize())) if left_out else ""
            return Segment(label, name, *found, colour, modifier)
    value = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:16] or "label_" + label[:10]
    private = f"{value}:{PRIVATE_SCHEME}:{name.replace(':', ' ')[:64]}"
    return Segment(label, name, _text(codes.cid7150.AnatomicalStructure), private, colour)


def _text(code: Any) -> str:
    return f"{code.value}:{code.scheme_designator}:{code.meaning}"


@lru_cache
def _known_types() -> dict[str, tuple[str, str]]:
    """Category and type by name in small letters without blanks, for codes of SNOMED CT that segments may have."""
    codes = dicom_module("pydicom.sr.codedict").codes
    categories: dict[str, str] = {}
    for keyword, numbers in _CATEGORIES.items():
        for group in (getattr(codes, f"cid{number}") for number in numbers):
            for name in group.dir():
                categories.setdefault(getattr(group, name).value, _text(getattr(codes.cid7150, keyword)))
    named = ((name, getattr(codes.SCT, name)) for name in codes.SCT.dir())
    return {name.lower(): (categories[code.value], _text(code)) for name, code in named if code.value in categories}
