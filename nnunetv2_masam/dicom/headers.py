"""Read the headers of a folder's DICOM files: one record per slice, grouped by series."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunetv2_masam.dicom import dicom_module

# attributes of a slice, or of a frame, that tell images of one series apart; tried in this order
_NAMES = """
EchoNumbers EchoTime EffectiveEchoTime AcquisitionNumber FrameAcquisitionNumber TemporalPositionIdentifier
TemporalPositionIndex DiffusionBValue DiffusionGradientOrientation TriggerTime NominalCardiacTriggerDelayTime
ImageType FrameType ComplexImageComponent ConvolutionKernel StackID
"""
SEPARATING = tuple(_NAMES.split())


@dataclass(frozen=True)
class Slice:
    """A plane of voxels: a file, or a frame of a multi-frame file.

    Attributes:
        frame: index from 0 in a multi-frame file, else None.
        instance: SOP Instance UID of the file.
        size_vox: rows and columns.
        position_mm: Image Position (Patient), LPS; None if the file has none, like the next two.
        orientation: Image Orientation (Patient), rounded to four digits.
        spacing_mm: between rows, between columns.
        thickness_mm: Spacing Between Slices, else Slice Thickness, else 1.
        slope, intercept: that turn stored values to the image's.
        tags: values of :data:`SEPARATING`.
    """

    path: Path
    frame: int | None
    instance: str
    size_vox: tuple[int, int]
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    thickness_mm: float
    slope: float
    intercept: float
    tags: dict[str, str]

    @property
    def is_localiser(self) -> bool:
        """Whether the file says so itself."""
        return any("LOCALIZER" in self.tags.get(name, "") for name in ("ImageType", "FrameType"))


@dataclass
class Series:
    """The slices of a series in the order of paths, and why it is no image; ``header`` is the first file's."""

    uid: str
    header: Any
    slices: list[Slice] = field(default_factory=list)
    problem: str = ""


def scan_folder(folder: Path) -> dict[str, Series]:
    """Read the headers of all DICOM files below a folder, where patients, studies and series may be mixed.

    Returns:
        series by Series Instance UID, in the order of paths. Files that are no DICOM are left out.

    Raises:
        ModuleNotFoundError: pydicom is missing.
        ValueError: it is no folder, or no file in it is DICOM with a series.
    """
    pydicom = dicom_module("pydicom")
    if not folder.is_dir():
        raise ValueError(f"{folder}: is no folder, expected one with DICOM files")
    found: dict[str, Series] = {}
    for path in sorted(Path(base) / name for base, _, names in os.walk(folder) for name in names):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, EOFError):
            continue
        if "SeriesInstanceUID" in header:  # not in a DICOMDIR
            uid = str(header.SeriesInstanceUID)
            series = found.setdefault(uid, Series(uid, header))
            series.problem = series.problem or _problem(header)
            series.slices += [] if series.problem else read_slices(path, header)
    if not found:
        raise ValueError(f"{folder}: has no DICOM image, expected files of at least one series")
    return found


def _problem(header: Any) -> str:
    """Why a file's series is no image of one value per voxel."""
    modality = header.get("Modality") or "none"
    if modality == "SEG" or "Rows" not in header or "Columns" not in header:
        return f"holds no image but another object (modality {modality})"
    colour = header.get("PhotometricInterpretation", "MONOCHROME2")
    if header.get("SamplesPerPixel", 1) != 1 or not colour.startswith("MONOCHROME"):
        return f"has colours ({colour}), expected one value per voxel"
    return ""


def read_slices(path: Path, header: Any) -> Iterator[Slice]:
    """The slices of a file."""
    frames: list[int | None] = [None]
    if int(header.get("NumberOfFrames") or 1) > 1 or "PerFrameFunctionalGroupsSequence" in header:
        # the frames of old multi-frame objects have no positions, for which they are refused
        frames = list(range(len(header.get("PerFrameFunctionalGroupsSequence", [0]))))
    for frame in frames:
        orientation = _numbers(header, frame, "ImageOrientationPatient")
        yield Slice(
            path=path,
            frame=frame,
            instance=str(header.get("SOPInstanceUID", "")),
            size_vox=(int(header.Rows), int(header.Columns)),
            position_mm=_numbers(header, frame, "ImagePositionPatient"),
            orientation=orientation and tuple(round(value, 4) + 0.0 for value in orientation),
            spacing_mm=_numbers(header, frame, "PixelSpacing"),
            thickness_mm=abs(float(find(header, frame, "SpacingBetweenSlices", "SliceThickness") or 1)),
            slope=float(find(header, frame, "RescaleSlope") or 1),
            intercept=float(find(header, frame, "RescaleIntercept") or 0),
            tags={name: str(value) for name in SEPARATING if (value := find(header, frame, name)) is not None},
        )


def find(header: Any, frame: int | None, *keywords: str) -> Any:
    """The first attribute there is of a frame: in its own functional groups, the shared ones, or at the top level."""
    places = [header]
    if frame is not None and "PerFrameFunctionalGroupsSequence" in header:
        groups = (header.PerFrameFunctionalGroupsSequence[frame], *header.get("SharedFunctionalGroupsSequence", []))
        items = [element.value for group in groups for element in group if element.VR == "SQ"]
        places = [*(item[0] for item in items if item), header]
    values = (place.get(keyword) for keyword in keywords for place in places)
    return next((value for value in values if value not in (None, "")), None)


def _numbers(header: Any, frame: int | None, keyword: str) -> tuple[float, ...] | None:
    value = find(header, frame, keyword)
    return None if value is None else tuple(map(float, value))
