"""``dicom seg``: write predictions as DICOM SEG that refer to the slices that they were made from."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk

from nnunetv2_masam import __version__
from nnunetv2_masam.dicom import dicom_module
from nnunetv2_masam.dicom.codes import Segment, read_segments
from nnunetv2_masam.dicom.headers import scan_folder
from nnunetv2_masam.dicom.requests import FILE_ENDINGS, SegRequest
from nnunetv2_masam.dicom.stacks import Stack, find_stacks
from nnunetv2_masam.dicom.volumes import grid_of, on_grid
from nnunetv2_masam.files import atomic_folder, list_folder, refuse_existing, shortened
from nnunetv2_masam.label_files import read_label_image
from nnunetv2_masam.nnunet_files import foreground_labels, read_dataset_json

TABLE = "segments.csv"


def write_segs(request: SegRequest) -> tuple[list[Segment], list[str]]:
    """Write one DICOM SEG for each prediction and ``segments.csv``, or nothing at all.

    Returns:
        the segments, and the names of the files.

    Raises:
        ValueError: the output exists, a case has no series in the source or lies elsewhere, has labels that are no
            segment, or its source lacks attributes that the standard demands; the message names the case.
    """
    refuse_existing(request.output)
    segments = read_segments(request.segments or request.predictions / "dataset.json")
    paths = [path for path in list_folder(request.predictions) if _case(path)]
    if not paths:
        raise ValueError(f"{request.predictions}: has no predictions, expected files of {', '.join(FILE_ENDINGS)}")
    scanned = list(find_stacks(scan_folder(request.source).values()))
    found = [stack for stack in scanned if stack.affine is not None]
    stacks = {stack.case: stack for stack in found}
    uids = Counter(stack.series.uid for stack in found)
    stacks |= {stack.series.uid: stack for stack in found if uids[stack.series.uid] == 1}
    if missing := [_case(path) for path in paths if _case(path) not in stacks]:
        refused = {
            name: stack.note for stack in scanned for name in (stack.case, stack.series.uid) if stack.affine is None
        }
        reasons = [f"{case}: the series {refused[case]}" for case in missing if case in refused]
        raise ValueError(
            f"{request.predictions}: no usable series in {request.source} for {shortened(missing)}, "
            + (shortened(reasons) or "expected cases named by dicom import or by their Series Instance UIDs")
        )
    with atomic_folder(request.output) as folder:
        pd.DataFrame(segments).to_csv(folder / TABLE, index=False)
        for path in paths:
            stack, target = stacks[_case(path)], folder / f"{_case(path)}.dcm"
            write_seg(_masks(path, stack, segments, request.form), stack, segments, request.form, target)
    return segments, [f"{_case(path)}.dcm" for path in paths]


def _case(path: Path) -> str:
    """The case of a prediction; empty for other files."""
    endings = [ending for ending in FILE_ENDINGS if path.name.endswith(ending) and not path.name.startswith(".")]
    return path.name.removesuffix(endings[0]) if endings else ""


def _masks(path: Path, stack: Stack, segments: Sequence[Segment], form: str) -> Any:
    """Volume of segment numbers (D, H, W) on the source's grid; of masks (D, H, W, K) where they overlap."""
    listed = [label for segment in segments for label in segment.labels]
    image, _ = read_label_image(path, {0, *listed})
    labels = sitk.GetArrayFromImage(image)
    grid = stack.grid
    if sorted(labels.shape) != sorted(grid[1]):
        raise ValueError(f"{path}: has {labels.shape} voxels, expected its source's {grid[1]}")
    overlapping = len(set(listed)) < len(listed)
    if overlapping and form == "labelmap":
        raise ValueError("form: got labelmap for segments that overlap, expected binary, which can hold them")
    if form == "fractional":
        array = _probabilities(path, labels.shape, segments)
    elif overlapping:
        array = np.stack([np.isin(labels, segment.labels) for segment in segments], axis=-1).astype(np.uint8)
    else:
        array = np.zeros(labels.shape, np.uint8 if len(segments) < 256 else np.uint16)
        for number, segment in enumerate(segments, 1):
            array[np.isin(labels, segment.labels)] = number
    return on_grid(array, grid_of(image)[0], grid, str(path))


def _probabilities(prediction: Path, shape: tuple[int, ...], segments: Sequence[Segment]) -> np.ndarray:
    """nnU-Net's probabilities beside a prediction, (D, H, W, K)."""
    path = prediction.with_name(f"{_case(prediction)}.npz")
    if not path.is_file():
        raise ValueError(f"{path}: is missing, expected what nnUNetv2_predict --save_probabilities writes")
    with np.load(path) as content:
        probabilities = content["probabilities"]  # (C, D, H, W)
    values = foreground_labels(read_dataset_json(prediction.parent, with_channels=False)).values()
    channels = [set(np.atleast_1d(value).tolist()) for value in values]
    if all(len(channel) == 1 for channel in channels):  # without regions, the background has a channel, too
        channels.insert(0, {0})
    if probabilities.shape != (len(channels), *shape):
        raise ValueError(f"{path}: has the shape {probabilities.shape}, expected {len(channels)} channels of {shape}")
    if other := [segment.name for segment in segments if set(segment.labels) not in channels]:
        raise ValueError(f"segments {other}: got no probabilities, expected labels or regions of dataset.json")
    chosen = [channels.index(set(segment.labels)) for segment in segments]
    return np.moveaxis(probabilities[chosen].astype(np.float32), 0, -1)


def write_seg(masks: Any, stack: Stack, segments: Sequence[Segment], form: str, path: Path) -> None:
    """Write one DICOM SEG.

    Args:
        masks: volume on the grid of the stack: segment numbers (D, H, W), or masks or probabilities (D, H, W, K).
        form: binary, labelmap or fractional.

    Raises:
        ValueError: the source lacks attributes that the standard demands.
    """
    highdicom, dcmread = dicom_module("highdicom"), dicom_module("pydicom").dcmread
    headers = [dcmread(file, stop_before_pixels=True) for file in dict.fromkeys(piece.path for piece in stack.slices)]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The string")  # a patient's name of one component
            seg = highdicom.seg.Segmentation(
                headers,
                masks,
                form.upper(),
                [_description(number, segment) for number, segment in enumerate(segments, 1)],
                series_instance_uid=highdicom.UID(),
                series_number=int(headers[0].get("SeriesNumber") or 0) + 1000,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="nnunetv2-masam",
                manufacturer_model_name="nnU-Net",
                software_versions=__version__,
                device_serial_number="1",
                series_description="nnU-Net segmentation",
                specific_character_set="ISO_IR 192",
            )
    except AttributeError as error:
        raise ValueError(f"{headers[0].filename}: lacks what DICOM SEG repeats of its source ({error})") from error
    # highdicom writes 1 mm for a single slice
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    step_mm = float(np.linalg.norm(stack.grid[0][:3, 0]))
    measures.SpacingBetweenSlices = dicom_module("pydicom.valuerep").DSfloat(step_mm, auto_format=True)
    seg.save_as(path)


def _description(number: int, segment: Segment) -> Any:
    highdicom, code = dicom_module("highdicom"), dicom_module("highdicom.sr").CodedConcept
    family = dicom_module("pydicom.sr.codedict").codes.cid7162.ArtificialIntelligence
    algorithm = highdicom.AlgorithmIdentificationSequence("nnU-Net with nnunetv2_masam", family, __version__)
    colour = highdicom.color.CIELabColor.from_string(segment.colour)
    category, kind = (code(*text.split(":")) for text in (segment.category, segment.type))
    described = highdicom.seg.SegmentDescription(
        number, segment.name[:64], category, kind, "AUTOMATIC", algorithm, display_color=colour
    )
    if segment.modifier:
        modifier = code(*segment.modifier.split(":"))
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return described
