"""Write images with the box channel for ``nnUNetv2_predict -i``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from nnunetv2_masam.box_record import DRAWN, RECORD_FILE
from nnunetv2_masam.files import atomic_folder, write_json
from nnunetv2_masam.nnunet_files import read_dataset_json
from nnunetv2_masam.prompts import VoxelBox
from nnunetv2_masam.prompts.channel import (
    BoxesOfCase,
    ReferenceBoxes,
    Written,
    images_by_case,
    write_cases,
)
from nnunetv2_masam.prompts.drawn import read_drawn
from nnunetv2_masam.prompts.requests import DrawnInputsRequest, MaskInputsRequest
from nnunetv2_masam.prompts.world import check_transforms


def write_inputs_from_masks(request: MaskInputsRequest) -> Written:
    """Write images with boxes from reference masks, which makes the prompt an oracle.

    Raises:
        ValueError: a case has no reference, or no folder can be written.
    """
    reference = ReferenceBoxes(request.rule, _labels_beside(request.images, request.dataset_json))
    files, ending = images_by_case(request.images)
    labels = {case: request.references / f"{case}{ending}" for case in files}
    if missing := [case for case, label in labels.items() if not label.is_file()]:
        raise ValueError(f"{request.references}: no reference for {', '.join(missing)}; without one there is no box")
    written = Written()
    boxes_of = reference.of(labels, written)
    return _write_inputs(files, request.output, ending, boxes_of, request.rule.record(), written)


def write_inputs_drawn(request: DrawnInputsRequest) -> Written:
    """Write images with boxes that a person drew.

    Raises:
        ValueError: cases and boxes do not fit together.
    """
    files, ending = images_by_case(request.images)
    boxes = read_drawn(request.boxes, request.coordinates)
    if unknown := sorted(boxes.keys() - files.keys()):
        raise ValueError(f"{request.boxes}: no image in {request.images} for {', '.join(unknown)}")
    if missing := sorted(files.keys() - boxes.keys()):
        raise ValueError(
            f"{request.boxes}: no entry for {', '.join(missing)}. For a case without a box, add a row with its name "
            'only (CSV), or a file with "markups": [] (CASE.mrk.json)'
        )

    def boxes_of(case: str, image: sitk.Image) -> list[VoxelBox]:
        if boxes[case] and request.coordinates != "voxel":
            check_transforms(files[case][0])
        try:
            return [box_of_image(image) for box_of_image in boxes[case]]
        except ValueError as error:
            raise ValueError(f"{request.boxes}, {case}: {error}") from error

    record = {"source": DRAWN, "file": request.boxes.name, "coordinates": request.coordinates or "markups"}
    return _write_inputs(files, request.output, ending, boxes_of, record, Written())


def _write_inputs(
    files: Mapping[str, Sequence[Path]],
    destination: Path,
    ending: str,
    boxes_of: BoxesOfCase,
    record: Mapping[str, Any],
    written: Written,
) -> Written:
    with atomic_folder(destination) as partial:
        write_cases(files, partial, ending, boxes_of, written)
        write_json(partial / RECORD_FILE, dict(record))
    return written


def _labels_beside(folder: Path, given: Path | None) -> dict[str, Any]:
    """The ``dataset.json`` given, else the one beside a folder."""
    path = given or folder.resolve().parent / "dataset.json"
    if not path.is_file():
        raise ValueError(f"no {path}; give the dataset.json of the references with --dataset-json")
    return read_dataset_json(path)
