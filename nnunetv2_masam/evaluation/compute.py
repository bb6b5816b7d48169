"""Measure many cases in several processes, and remember what was measured by the content of the files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, get_bbox_from_mask, pad_bbox
from nnunetv2.configuration import default_num_processes
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from tqdm import tqdm

from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.metrics import (
    METRICS_REVISION,
    image_diagonal_mm,
    library_versions,
    structure_metrics,
)

# a NIfTI header stores float32, so origins and directions come back rounded
GEOMETRY_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Task:
    """One prediction to measure.

    Attributes:
        model: name of the model.
        case: name of the case.
        reference: file.
        prediction: file.
        reader: nnU-Net's reader class for these files.
        structures: what to measure.
        tolerances_mm: NSD tolerance by structure name.
        ignore_label: of the reference.
        reference_values: label values that the reference may hold, the ignore label included.
        prediction_values: label values that the prediction may hold.
    """

    model: str
    case: str
    reference: Path
    prediction: Path
    reader: type[BaseReaderWriter]
    structures: tuple[Structure, ...]
    tolerances_mm: tuple[float, ...]
    ignore_label: int | None
    reference_values: frozenset[int]
    prediction_values: frozenset[int]

    def fingerprint(self) -> str:
        """Hash of everything that the values depend on: both files' content, the settings, the libraries."""
        settings = {
            "reference": hash_file(self.reference),
            "prediction": hash_file(self.prediction),
            "reader": self.reader.__name__,
            "structures": [asdict(structure) for structure in self.structures],
            "tolerances_mm": self.tolerances_mm,
            "ignore_label": self.ignore_label,
            "values": [sorted(self.reference_values), sorted(self.prediction_values)],
            "revision": METRICS_REVISION,
            "versions": library_versions(),
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Measured:
    """Values by structure name, or the error that names the file."""

    model: str
    case: str
    values: dict[str, dict[str, Any]]
    error: str = ""
    cached: bool = False


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_segmentation(path: Path, reader: type[BaseReaderWriter]) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a segmentation with nnU-Net's reader.

    Returns:
        integer labels (D, H, W), and the reader's properties.

    Raises:
        ValueError: naming the file, where it cannot be read or does not hold whole numbers.
    """
    try:
        array, properties = reader().read_seg(str(path))
    except Exception as error:  # each reader has its own family of errors for a broken file
        raise ValueError(f"{path}: cannot be read ({str(error).strip().splitlines()[-1]})") from error
    with np.errstate(invalid="ignore"):  # NaN becomes some number, and is found unequal below
        labels = array[0].astype(np.int32)
    if not np.array_equal(labels, array[0]):
        raise ValueError(f"{path}: holds values that are not whole numbers, so it is no segmentation")
    return labels, properties


def spacing_of(properties: dict[str, Any]) -> list[float]:
    """Voxel size (D, H, W) in mm; (H, W) for a 2D image, whose first number nnU-Net's readers make up."""
    spacing = [float(size) for size in properties["spacing"]]
    stored = properties.get("sitk_stuff", {}).get("spacing", spacing)
    is_2d = len(stored) == 2 or ("sitk_stuff" not in properties and spacing[0] == 999)
    return spacing[1:] if is_2d else spacing


def measure(task: Task) -> dict[str, dict[str, Any]]:
    """Read, check and measure one case.

    Raises:
        ValueError: naming the file, where it is broken, has another geometry or labels that are not defined.
    """
    reference, reference_properties = read_segmentation(task.reference, task.reader)
    prediction, prediction_properties = read_segmentation(task.prediction, task.reader)
    _check_geometry(task, reference, prediction, reference_properties, prediction_properties)
    spacing_mm = spacing_of(reference_properties)
    diagonal_mm = image_diagonal_mm(reference.shape, spacing_mm)
    foreground = (reference != 0) | (prediction != 0)
    if foreground.any():
        crop = bounding_box_to_slice(pad_bbox(get_bbox_from_mask(foreground), 1, foreground.shape))
        reference, prediction = reference[crop], prediction[crop]
    _check_values(task.reference, reference, task.reference_values)
    _check_values(task.prediction, prediction, task.prediction_values)
    ignore = None if task.ignore_label is None else reference == task.ignore_label
    values: dict[str, dict[str, Any]] = {}
    for structure, tolerance_mm in zip(task.structures, task.tolerances_mm, strict=True):
        values[structure.name] = structure_metrics(
            mask_of(reference, structure.reference_values),
            mask_of(prediction, structure.prediction_values),
            spacing_mm,
            tolerance_mm,
            ignore,
            diagonal_mm,
        )
    return values


def mask_of(labels: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Where a label map has one of the values."""
    return labels == values[0] if len(values) == 1 else np.isin(labels, values)


def measure_all(
    tasks: Sequence[Task], cache: Path | None, processes: int | None = None, progress: bool = True
) -> list[Measured]:
    """Measure all tasks; errors come back as values so that one broken file does not hide the others.

    Args:
        tasks: what to measure.
        cache: folder of remembered values; None remembers nothing.
        processes: nnU-Net's default number, at most one per core, if not given.
        progress: show a bar.
    """
    if processes is None:
        processes = min(default_num_processes, os.cpu_count() or 1)
    done: list[Measured] = []
    jobs: list[tuple[Task, Path | None]] = []
    for task in tasks:
        remembered = _remembered(task, cache)
        values = None if remembered is None else _recall(remembered)
        if values is None:
            jobs.append((task, remembered))
        else:
            done.append(Measured(task.model, task.case, values, cached=True))
    with tqdm(total=len(jobs), desc="measuring", unit="case", disable=None if progress else True) as bar:
        for result in _run(jobs, min(processes, len(jobs))):
            done.append(result)
            bar.update()
    return sorted(done, key=lambda result: (result.model, result.case))


def _run(jobs: Sequence[tuple[Task, Path | None]], processes: int) -> Iterator[Measured]:
    if processes <= 1:
        yield from map(_measure_safely, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_measure_safely, jobs)


def _measure_safely(job: tuple[Task, Path | None]) -> Measured:
    task, remembered = job
    try:
        values = measure(task)
    except OSError as error:
        return Measured(task.model, task.case, {}, error=f"{error.filename}: {error.strerror}")
    except ValueError as error:
        return Measured(task.model, task.case, {}, error=str(error))
    if remembered is not None:
        _remember(remembered, values)
    return Measured(task.model, task.case, values)


def _remembered(task: Task, cache: Path | None) -> Path | None:
    if cache is None:
        return None
    try:
        return cache / f"{task.fingerprint()}.json"
    except OSError:  # an unreadable file is named when it is to be measured
        return None


def _recall(path: Path) -> dict[str, dict[str, Any]] | None:
    try:
        values: dict[str, dict[str, Any]] = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return values


def _remember(path: Path, values: dict[str, dict[str, Any]]) -> None:
    # a full or read-only disk only costs time: the values are measured again
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(values))
        partial.replace(path)


def _check_geometry(
    task: Task,
    reference: np.ndarray,
    prediction: np.ndarray,
    reference_properties: dict[str, Any],
    prediction_properties: dict[str, Any],
) -> None:
    ours, theirs = _geometry(prediction, prediction_properties), _geometry(reference, reference_properties)
    for what in theirs:
        same_size = len(ours.get(what, ())) == len(theirs[what])
        if not same_size or not np.allclose(ours[what], theirs[what], rtol=0, atol=GEOMETRY_TOLERANCE):
            raise ValueError(
                f"{task.prediction}: has {what} {_plain(ours.get(what, ()))}, "
                f"but its reference {task.reference} has {_plain(theirs[what])}. "
                "Predict on the images that the references belong to."
            )


def _geometry(labels: np.ndarray, properties: dict[str, Any]) -> dict[str, np.ndarray]:
    geometry = {"shape": np.array(labels.shape), "spacing (mm)": np.array(properties["spacing"], dtype=float)}
    for key in ("origin", "direction"):
        if key in properties.get("sitk_stuff", {}):
            geometry[key] = np.array(properties["sitk_stuff"][key], dtype=float)
    if "original_affine" in properties.get("nibabel_stuff", {}):
        geometry["affine"] = np.array(properties["nibabel_stuff"]["original_affine"], dtype=float).ravel()
    return geometry


def _plain(numbers: Iterable[float]) -> str:
    return "(" + ", ".join(f"{float(number):g}" for number in numbers) + ")"


def _check_values(path: Path, labels: np.ndarray, allowed: frozenset[int]) -> None:
    smallest = int(labels.min(initial=0))
    present = np.flatnonzero(np.bincount((labels - smallest).ravel())) + smallest
    undefined = sorted({int(value) for value in present} - allowed)
    if undefined:
        raise ValueError(
            f"{path}: holds label values {undefined}, which dataset.json does not define (it has "
            f"{sorted(allowed)}). Correct the file, or the dataset.json."
        )
