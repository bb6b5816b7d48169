"""Options of the commands on boxes. ``--help`` imports this module, so it needs neither numpy nor nnU-Net."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunetv2_masam.box_record import FROM_REFERENCE
from nnunetv2_masam.options import nested, option

COORDINATES = ("voxel", "lps", "ras")
_RULE = "boxes from references"
_IMAGES_FOLDER = "Folder of images (CASE_0000.nii.gz)"
_INPUTS_FOLDER = "New folder to write, for nnUNetv2_predict -i"
_REFERENCES_FOLDER = "Folder of reference masks"


@dataclass(frozen=True)
class MaskBoxes:
    """Options of boxes around a mask; ``prompts.from_masks.make_boxes`` makes them."""

    labels: tuple[str, ...] = option(
        "--label", help="Labels or regions to box, taken together", group=_RULE, metavar="NAME"
    )
    per_lesion: bool = option(
        "--one-box", help="One box around all lesions of a case, not one for each", default=True, group=_RULE
    )
    margin_mm: float = option(
        help="Margin on every side, rounded to voxels", default=0.0, group=_RULE, metavar="MM", at_least=0
    )
    jitter_mm: float = option(
        help="Largest random distance by which a face moves", default=0.0, group=_RULE, metavar="MM", at_least=0
    )
    seed: int = option(help="Seed of the random distances", default=0, group=_RULE, metavar="N", at_least=0)

    def __post_init__(self) -> None:
        for name in ("margin_mm", "jitter_mm"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: got {value}, expected 0 mm or more")

    def record(self) -> dict[str, Any]:
        """For ``dataset.json`` or beside the images."""
        return {"source": FROM_REFERENCE, **asdict(self), "labels": list(self.labels)}


@dataclass(frozen=True)
class BoxDatasetRequest:
    """A dataset to write anew with boxes."""

    dataset: str = option(
        "-d", "--dataset", help="Number or name of the dataset to write anew with boxes", group="input", metavar="ID"
    )
    name: str = option("-o", "--output", help="DatasetXXX_Name of the new dataset", group="output", metavar="NAME")
    rule: MaskBoxes = nested()


@dataclass(frozen=True)
class MaskInputsRequest:
    """Images that get boxes from reference masks."""

    images: Path = option("-i", "--images", help=_IMAGES_FOLDER, group="input", metavar="DIR")
    references: Path = option(help=_REFERENCES_FOLDER, group="input", metavar="DIR")
    output: Path = option("-o", "--output", help=_INPUTS_FOLDER, group="output", metavar="DIR")
    rule: MaskBoxes = nested()
    dataset_json: Path | None = option(
        help="dataset.json of the references (default: the one beside the folder of images)", default=None,
        group="input", metavar="FILE",
    )  # fmt: skip


@dataclass(frozen=True)
class DrawnInputsRequest:
    """Images that get boxes that a person drew; see :mod:`~nnunetv2_masam.prompts.drawn`."""

    images: Path = option("-i", "--images", help=_IMAGES_FOLDER, group="input", metavar="DIR")
    boxes: Path = option(
        "--from", group="input", metavar="PATH",
        help="Boxes that a person drew: a .csv table, CASE.mrk.json, or a folder of CASE.mrk.json files",
    )  # fmt: skip
    output: Path = option("-o", "--output", help=_INPUTS_FOLDER, group="output", metavar="DIR")
    coordinates: str | None = option(
        help="For tables: what the numbers are: voxel, or millimetres in lps or ras", default=None, group="input",
        metavar="KIND", choices=COORDINATES,
    )  # fmt: skip
