"""A phantom written as DICOM series of many kinds, for tests, benchmarks and pictures; no patient is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

CLASSES = {
    ("CT", False): CTImageStorage,
    ("MR", False): MRImageStorage,
    ("CT", True): EnhancedCTImageStorage,
    ("MR", True): EnhancedMRImageStorage,
}
AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])
ROTATED = np.array([[0.8, 0.6, 0.0], [-0.48, 0.64, 0.6]])  # rows of a rotation: oblique
STEP_MM, ROW_MM, COLUMN_MM = 2.5, 0.8, 0.7
ORIGIN = np.array([-10.0, 20.0, 5.0])
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "MRN-4711", "PatientBirthDate": "19700131", "PatientSex": "F"}


def phantom(depth: int = 8, height: int = 14, width: int = 12) -> np.ndarray:
    """Labels (D, H, W): a large ellipsoid (1) with a small one in it (2), and a bar (3); no mirror image of itself."""
    d, h, w = np.meshgrid(*(np.linspace(-1, 1, n) for n in (depth, height, width)), indexing="ij")
    labels = ((d / 0.9) ** 2 + ((h + 0.1) / 0.8) ** 2 + (w / 0.7) ** 2 < 1).astype(np.uint8)
    labels[((d - 0.2) / 0.5) ** 2 + ((h + 0.3) / 0.4) ** 2 + ((w - 0.2) / 0.3) ** 2 < 1] = 2
    labels[(h > 0.75) & (w < -0.3) & (d < 0.3)] = 3
    return labels


def values(labels: np.ndarray) -> np.ndarray:
    """Stored values of the phantom's CT."""
    texture = np.arange(labels.size).reshape(labels.shape) % 7
    return np.array([24, 1040, 1100, 2000])[labels] + texture


def planes(count: int, axes: np.ndarray = AXIAL, step_mm: float = STEP_MM) -> list[np.ndarray]:
    """Positions of even slices."""
    normal = np.cross(*axes)
    return [ORIGIN + number * step_mm * normal for number in range(count)]


def write_series(
    folder: Path,
    voxels: np.ndarray,
    positions: Sequence[np.ndarray] | None = None,
    axes: np.ndarray = AXIAL,
    modality: str = "CT",
    series: str | None = None,
    study: str | None = None,
    each: Sequence[dict[str, Any]] | None = None,
    **attributes: Any,
) -> str:
    """Write a file for each slice, and return the Series Instance UID.

    Args:
        folder: new or not.
        voxels: (D, H, W), stored values; (D, H, W, 3) for colours.
        positions: of the slices, LPS, mm; default: even ones along the normal.
        axes: Image Orientation (Patient), (2, 3).
        modality: CT or MR.
        series: its UID; default: a new one.
        study: its UID; default: a new one.
        each: further attributes of each slice.
        attributes: of all slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series, study = series or generate_uid(), study or generate_uid()
    positions = planes(len(voxels), axes) if positions is None else positions
    for number, (plane, position) in enumerate(zip(voxels, positions, strict=True)):
        dataset = _image(plane, modality, False, series, study)
        dataset.InstanceNumber = number + 1
        dataset.ImagePositionPatient = _decimals(position)
        dataset.ImageOrientationPatient = _decimals(axes.ravel())
        dataset.PixelSpacing, dataset.SliceThickness = [ROW_MM, COLUMN_MM], STEP_MM
        for name, value in {**attributes, **(each[number] if each else {})}.items():
            setattr(dataset, name, value)
        _save(dataset, folder / f"{series[-6:]}_{number:03d}.dcm")
    return series


def write_enhanced(
    folder: Path,
    voxels: np.ndarray,
    positions: Sequence[np.ndarray] | None = None,
    axes: np.ndarray = AXIAL,
    modality: str = "CT",
    slopes: Sequence[float] | None = None,
    content: Sequence[dict[str, Any]] | None = None,
) -> str:
    """Write one enhanced multi-frame file; ``slopes`` and ``content`` (frame content) are those of the frames."""
    folder.mkdir(parents=True, exist_ok=True)
    positions = planes(len(voxels), axes) if positions is None else positions
    series = generate_uid()
    dataset = _image(voxels, modality, True, series, generate_uid())
    dataset.NumberOfFrames = len(voxels)
    shared = {
        "PixelMeasuresSequence": {"PixelSpacing": [ROW_MM, COLUMN_MM], "SliceThickness": STEP_MM},
        "PlaneOrientationSequence": {"ImageOrientationPatient": _decimals(axes.ravel())},
    }
    dataset.SharedFunctionalGroupsSequence = [_groups(shared)]
    frames = []
    for number, position in enumerate(positions):
        frame = {
            "FrameContentSequence": {"DimensionIndexValues": [1, number + 1], **(content[number] if content else {})},
            "PlanePositionSequence": {"ImagePositionPatient": _decimals(position)},
            "PixelValueTransformationSequence": {
                "RescaleIntercept": "-1024",
                "RescaleSlope": str(slopes[number]) if slopes else "1",
                "RescaleType": "HU",
            },
        }
        frames.append(_groups(frame))
    dataset.PerFrameFunctionalGroupsSequence = frames
    _save(dataset, folder / f"{series[-6:]}.dcm")
    return series


def _groups(content: dict[str, dict[str, Any]]) -> Dataset:
    group = Dataset()
    for sequence, attributes in content.items():
        item = Dataset()
        for name, value in attributes.items():
            setattr(item, name, value)
        setattr(group, sequence, [item])
    return group


def _image(voxels: np.ndarray, modality: str, enhanced: bool, series: str, study: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CLASSES[modality, enhanced]
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[study])
    dataset.Modality, dataset.SeriesNumber = modality, 3
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260102", "101500", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.Manufacturer = "", "", "Phantoms"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if modality == "CT" else ["ORIGINAL", "PRIMARY", "M"]
    for name, value in PATIENT.items():
        setattr(dataset, name, value)
    colours = voxels.shape[-1] == 3 and voxels.ndim == 3 and not enhanced
    dataset.SamplesPerPixel = 3 if colours else 1
    dataset.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    dataset.Rows, dataset.Columns = voxels.shape[:2] if colours else voxels.shape[-2:]
    if colours:
        dataset.PlanarConfiguration = 0
    bits = 8 if colours else 16
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    if modality == "CT" and not enhanced and not colours:
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    dataset.PixelData = voxels.astype("u1" if colours else "<u2").tobytes()
    return dataset


def _decimals(numbers: np.ndarray) -> list[str]:
    return [f"{number:.8f}".rstrip("0").rstrip(".")[:16] for number in numbers]


def _save(dataset: Dataset, path: Path) -> None:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
