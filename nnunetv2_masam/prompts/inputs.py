"""Write images with the box channel for ``nnUNetv2_predict -i``, and markups of the boxes of reference masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from nnunetv2_masam.box_record import DRAWN, RECORD_FILE
from nnunetv2_masam.files import atomic_folder, list_folder, write_json
from nnunetv2_masam.nnunet_files import checked_name, read_dataset_json
from nnunetv2_masam.prompts import VoxelBox
from nnunetv2_masam.prompts.channel import (
    BoxesOfCase,
    ReferenceBoxes,
    Written,
    checked_ending,
    images_by_case,
    write_cases,
)
from nnunetv2_masam.prompts.drawn import read_drawn
from nnunetv2_masam.prompts.from_masks import make_boxes
from nnunetv2_masam.prompts.markups import ENDING, write_markups
from nnunetv2_masam.prompts.requests import DrawnInputsRequest, MarkupsRequest, MaskInputsRequest
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
            'only (CSV), "case": [] (JSON), or a file with "markups": [] (CASE.mrk.json)'
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


def write_reference_markups(request: MarkupsRequest) -> Written:
    """Write ``CASE.mrk.json`` for each reference mask of a folder.

    Raises:
        ValueError: a mask cannot be read or no folder can be written.
    """
    dataset_json = _labels_beside(request.references, request.dataset_json)
    reference = ReferenceBoxes(request.rule, dataset_json)
    ending = checked_ending(dataset_json["file_ending"])
    files = [path for path in list_folder(request.references) if path.name.endswith(ending)]
    files = [path for path in files if not path.name.startswith(".")]
    if not files:
        raise ValueError(f"{request.references}: no masks (*{ending})")
    written = Written()
    with atomic_folder(request.output) as partial:
        for path in files:
            case = checked_name(path.name.removesuffix(ending), str(path))
            image, mask = reference.read(path, written)
            boxes = make_boxes(request.rule, case, mask, image.GetSpacing()[::-1])
            if boxes:
                check_transforms(path)
            write_markups(partial / f"{case}{ENDING}", boxes, image)
            written.boxes[case] = len(boxes)
    return written


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
