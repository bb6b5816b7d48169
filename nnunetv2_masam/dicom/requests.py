"""Options of ``dicom import`` and ``dicom seg``. ``--help`` imports this module, so it stays light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.options import option

FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
FORMS = ("binary", "labelmap", "fractional")


@dataclass(frozen=True)
class ImportRequest:
    """A folder of DICOM, to images that nnU-Net predicts."""

    source: Path = option("source", help="Folder of DICOM files, at any depth", group="input", metavar="FOLDER")
    output: Path = option("-o", "--output", help="New folder of images", group="output", metavar="DIR")
    columns: tuple[str, ...] = option(
        "--columns", default=("SeriesInstanceUID", "Modality"), group="output", metavar="KEYWORD",
        help="DICOM attributes that the table of series gets as columns",
    )  # fmt: skip
    file_ending: str = option(
        "--file-ending", default=FILE_ENDINGS[0], choices=FILE_ENDINGS, group="output", metavar="ENDING",
        help=f"Format of the images: {', '.join(FILE_ENDINGS)}",
    )  # fmt: skip


@dataclass(frozen=True)
class SegRequest:
    """Predictions, to one DICOM SEG for each case."""

    predictions: Path = option("predictions", help="Folder of predictions", group="input", metavar="PREDICTIONS")
    source: Path = option(
        "--source", help="Folder of the DICOM series that were imported", group="input", metavar="DIR"
    )
    output: Path = option("-o", "--output", help="New folder of DICOM SEG files", group="output", metavar="DIR")
    segments: Path | None = option(
        "--segments", default=None, group="input", metavar="FILE",
        help="CSV of segments, or dataset.json (default: dataset.json beside the predictions)",
    )  # fmt: skip
    form: str = option(
        "--form", default=FORMS[0], choices=FORMS, group="output", metavar="FORM",
        help="Form of the segments: binary, labelmap, or fractional from what nnU-Net saves with --save_probabilities",
    )  # fmt: skip
