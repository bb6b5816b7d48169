"""``dicom import``: convert a folder of DICOM to images for prediction, with a table of all series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from nnunetv2_masam.dicom import dicom_module
from nnunetv2_masam.dicom.headers import scan_folder
from nnunetv2_masam.dicom.requests import ImportRequest
from nnunetv2_masam.dicom.stacks import Stack, find_stacks
from nnunetv2_masam.dicom.volumes import read_volume
from nnunetv2_masam.files import atomic_folder, refuse_existing, shortened
from nnunetv2_masam.images import write_image

TABLE = "series.csv"


def import_folder(request: ImportRequest) -> list[tuple[str, Stack]]:
    """Write an image for each usable series, ``case_…_0000``, and ``series.csv``.

    Names are made from the series' UIDs, so they hold no patient data and are the same in every import.

    Returns:
        name of the file and stack of each series, or part of one; the name is empty where it is refused.

    Raises:
        ValueError: the output exists, a column is none, or no series can be used; the message has the reasons.
    """
    refuse_existing(request.output)
    known = dicom_module("pydicom.datadict")
    if unknown := [name for name in request.columns if known.tag_for_keyword(name) is None]:
        raise ValueError(f"columns: got {', '.join(unknown)}, expected DICOM keywords such as PatientID and StudyDate")
    rows = []
    with atomic_folder(request.output) as folder:
        for stack in find_stacks(scan_folder(request.source).values()):
            name = f"{stack.case}_0000{request.file_ending}" if stack.affine is not None else ""
            try:
                if name:
                    write_image(read_volume(stack), folder / name)
                rows.append((name, stack))
            except ValueError as error:
                rows.append(("", replace(stack, affine=None, note=str(error))))
        if not any(file for file, _ in rows):
            reasons = shortened(sorted({outcome(stack) for _, stack in rows}))
            raise ValueError(f"{request.source}: none of {len(rows)} series or parts can be used: {reasons}")
        pd.DataFrame([_row(*row, request.columns) for row in rows]).to_csv(folder / TABLE, index=False)
    return rows


def outcome(stack: Stack) -> str:
    """Describe what became of a stack."""
    if stack.affine is None:
        return f"not imported: the series {stack.note}"
    return "; ".join(filter(None, ("imported", stack.note)))


def _text(stack: Stack, keyword: str) -> str:
    return str(stack.series.header.get(keyword, ""))


def _row(file: str, stack: Stack, columns: Sequence[str]) -> dict[str, object]:
    steps = [] if stack.affine is None else np.linalg.norm(stack.affine[:3, :3], axis=0)
    spacing = " x ".join(f"{step:.4g}" for step in steps)
    row = {"file": file, "part": stack.part, "slices": len(stack.slices), "spacing_mm": spacing}
    return row | {"result": outcome(stack)} | {column: _text(stack, column) for column in columns}
