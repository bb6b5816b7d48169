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
_TOLERANCE_MM = 1e-2


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
        for name, stack in _named(list(find_stacks(scan_folder(request.source).values())), request.channels):
            try:
                if name:
                    write_image(read_volume(stack), folder / f"{name}{request.file_ending}")
                rows.append((name and f"{name}{request.file_ending}", stack))
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


def _named(stacks: Sequence[Stack], channels: Sequence[str]) -> list[tuple[str, Stack]]:
    """Stacks with nnU-Net's names, empty for what is refused or no channel of a complete case."""
    studies: dict[str, list[Stack]] = {}
    for stack in stacks:
        if stack.affine is not None:
            studies.setdefault(_text(stack, "StudyInstanceUID"), []).append(stack)
    named = [("" if stack.affine is None else f"{stack.case}_0000", stack) for stack in stacks]
    for number, (name, stack) in enumerate(named if channels else ()):
        if name:
            name, reason = _channel(stack, studies[_text(stack, "StudyInstanceUID")], channels)
            named[number] = (name, stack if name else replace(stack, affine=None, note=reason))
    return named


def _channel(stack: Stack, study: Sequence[Stack], channels: Sequence[str]) -> tuple[str, str]:
    """The name of a stack as a channel of its study's case; else an empty one, and why."""
    described = [(other, _text(other, "SeriesDescription").lower()) for other in study]
    case = [other for text in channels for other, description in described if text.lower() in description]
    counts = {text: sum(text.lower() in description for _, description in described) for text in channels}
    if set(counts.values()) != {1} or len(set(map(id, case))) < len(channels):
        return "", f"belongs to a study with {counts} images for the channels, expected one of its own for each"
    first, size = case[0].grid
    if not all(np.allclose(other.grid[0], first, atol=_TOLERANCE_MM) and other.grid[1] == size for other in case):
        return "", "belongs to a study whose channels lie on different grids; resample them to one"
    names = [f"{case[0].case}_{number:04d}" for number, other in enumerate(case) if other is stack]
    return (names[0], "") if names else ("", "is none of the channels that were asked for")


def _text(stack: Stack, keyword: str) -> str:
    return str(stack.series.header.get(keyword, ""))


def _row(file: str, stack: Stack, columns: Sequence[str]) -> dict[str, object]:
    steps = [] if stack.affine is None else np.linalg.norm(stack.affine[:3, :3], axis=0)
    spacing = " x ".join(f"{step:.4g}" for step in steps)
    row = {"file": file, "part": stack.part, "slices": len(stack.slices), "spacing_mm": spacing}
    return row | {"result": outcome(stack)} | {column: _text(stack, column) for column in columns}
