"""Measure many cases in several processes, and remember what was measured by the content of the files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, get_bbox_from_mask, pad_bbox
from nnunetv2.configuration import default_num_processes
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from tqdm import tqdm

from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.metrics import (
    METRICS_REVISION,
    MetricSettings,
    image_diagonal_mm,
    library_versions,
    structure_metrics,
)
from nnunetv2_masam.evaluation.segmentation import (
    Geometry,
    check_geometry,
    mask_of,
    read_segmentation,
    spacing_of,
)
from nnunetv2_masam.files import read_json, sha256_of, write_text
from nnunetv2_masam.images import unreadable

Values = dict[str, dict[str, Any]]  # by structure, by column


@dataclass(frozen=True)
class MeasureTask:
    """One prediction to measure.

    Attributes:
        model: name of the model.
        case: name of the case.
        reference: file.
        prediction: file.
        image: file of what was segmented, if it is at hand; read only where the other two do not lie in one place.
        reader: nnU-Net's reader class for these files.
        structures: what to measure.
        tolerances_mm: NSD tolerance by structure name.
        ignore_label: of the reference.
        reference_values: label values that the reference may hold, the ignore label included.
        prediction_values: label values that the prediction may hold.
        settings: the metrics and their definitions.
    """

    model: str
    case: str
    reference: Path
    prediction: Path
    image: Path | None
    reader: type[BaseReaderWriter]
    structures: tuple[Structure, ...]
    tolerances_mm: tuple[float, ...]
    ignore_label: int | None
    reference_values: frozenset[int]
    prediction_values: frozenset[int]
    settings: MetricSettings = field(default_factory=MetricSettings)

    def fingerprint(self, hashes: dict[Path, str] | None = None) -> str:
        """Hash of everything that the values depend on: both files' content, the settings, the libraries.

        Args:
            hashes: of files that were read before; new ones are added.
        """
        hashes = {} if hashes is None else hashes
        for path in (self.reference, self.prediction):
            if path not in hashes:
                hashes[path] = sha256_of(path)
        settings = {
            "reference": hashes[self.reference],
            "prediction": hashes[self.prediction],
            "reader": self.reader.__name__,
            "structures": [asdict(structure) for structure in self.structures],
            "tolerances_mm": self.tolerances_mm,
            "ignore_label": self.ignore_label,
            "values": [sorted(self.reference_values), sorted(self.prediction_values)],
            "metrics": asdict(self.settings),
            "revision": METRICS_REVISION,
            "versions": library_versions(),
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Measured:
    """Values by structure name, or the error that names the file.

    Attributes:
        model: name of the model.
        case: name of the case.
        values: by structure and column.
        error: why there are none.
        note: what a reader must know about them.
        cached: they were measured before.
    """

    model: str
    case: str
    values: Values
    error: str = ""
    note: str = ""
    cached: bool = False


def measure(task: MeasureTask) -> tuple[Values, str]:
    """Read, check and measure one case.

    Returns:
        the values, and a note on them or "".

    Raises:
        ValueError: naming the file, where it is broken, lies elsewhere or has labels that are not defined.
    """
    reference, reference_properties = read_segmentation(task.reference, task.reader)
    prediction, prediction_properties = read_segmentation(task.prediction, task.reader)
    note = _check_geometry(
        task,
        Geometry.of(reference.shape, reference_properties),
        Geometry.of(prediction.shape, prediction_properties),
    )
    spacing_mm = spacing_of(reference_properties)
    diagonal_mm = image_diagonal_mm(reference.shape, spacing_mm)
    foreground = (reference != 0) | (prediction != 0)
    if foreground.any():
        crop = bounding_box_to_slice(pad_bbox(get_bbox_from_mask(foreground), 1, foreground.shape))
        reference, prediction = reference[crop], prediction[crop]
    del foreground
    _check_values(task.reference, reference, task.reference_values)
    _check_values(task.prediction, prediction, task.prediction_values)
    ignore = None if task.ignore_label is None else reference == task.ignore_label
    values = {
        structure.name: structure_metrics(
            mask_of(reference, structure.reference_values),
            mask_of(prediction, structure.prediction_values),
            spacing_mm,
            tolerance_mm,
            ignore,
            diagonal_mm,
            task.settings,
        )
        for structure, tolerance_mm in zip(task.structures, task.tolerances_mm, strict=True)
    }
    return values, note


def measure_all(
    tasks: Sequence[MeasureTask], cache: Path | None, processes: int | None = None, progress: bool = True
) -> list[Measured]:
    """Measure all tasks; errors come back as values so that one broken file does not hide the others.

    Args:
        tasks: what to measure.
        cache: folder of remembered values; None remembers nothing.
        processes: nnU-Net's default number, at most one per core, if not given.
        progress: show a bar.

    Raises:
        ValueError: a process was killed. What was measured before is remembered.
    """
    if processes is None:
        processes = min(default_num_processes, os.cpu_count() or 1)
    done: list[Measured] = []
    jobs: list[tuple[MeasureTask, Path | None]] = []
    hashes: dict[Path, str] = {}
    for task in tasks:
        entry = _cache_entry(task, cache, hashes)
        remembered = None if entry is None else _recall(entry, task)
        if remembered is None:
            jobs.append((task, entry))
        else:
            done.append(Measured(task.model, task.case, remembered[0], note=remembered[1], cached=True))
    with tqdm(total=len(jobs), desc="measuring", unit="case", disable=None if progress else True) as bar:
        for result in _run(jobs, min(processes, len(jobs))):
            done.append(result)
            bar.update()
    return sorted(done, key=lambda result: (result.model, result.case))


def _run(jobs: Sequence[tuple[MeasureTask, Path | None]], processes: int) -> Iterator[Measured]:
    if processes <= 1:
        yield from map(_measure_safely, jobs)
        return
    finished = 0
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_measure_safely, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
                finished += 1
        except BrokenProcessPool as error:
            kept = "; they are remembered" if jobs[0][1] is not None else ""
            # a process starts by importing the script, which would compare again
            guard = "" if finished else ' A script has to call this under `if __name__ == "__main__":`.'
            raise ValueError(
                f"a measuring process was killed, probably because memory ran out, after {finished} of {len(jobs)} "
                f"cases{kept}. Use fewer processes: -np {max(1, processes // 2)}.{guard}"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)  # after an interruption, not the rest of the queue first


def _measure_safely(job: tuple[MeasureTask, Path | None]) -> Measured:
    task, entry = job
    try:
        values, note = measure(task)
    except MemoryError as error:
        return Measured(task.model, task.case, {}, error=f"{task.prediction}: not enough memory ({error})")
    except (OSError, ValueError) as error:
        return Measured(task.model, task.case, {}, error=str(error))
    if entry is not None:
        # a full or read-only disk only costs time: the values are measured again
        with contextlib.suppress(OSError):
            write_text(entry, json.dumps({"values": values, "note": note}))
    return Measured(task.model, task.case, values, note=note)


def _cache_entry(task: MeasureTask, cache: Path | None, hashes: dict[Path, str]) -> Path | None:
    if cache is None:
        return None
    try:
        return cache / f"{task.fingerprint(hashes)}.json"
    except OSError:  # an unreadable file is named when it is to be measured
        return None


def _recall(entry: Path, task: MeasureTask) -> tuple[Values, str] | None:
    """What was remembered of a task; None if that is nothing, or not what this version writes."""
    if not entry.is_file():
        return None
    try:
        content = read_json(entry, dict)
    except ValueError:
        return None
    values, note = content.get("values"), content.get("note")
    columns = {*task.settings.columns, "empty"}
    whole = isinstance(values, dict) and set(values) == {structure.name for structure in task.structures}
    if not whole or not isinstance(note, str):
        return None
    for record in values.values():
        if not isinstance(record, dict) or set(record) != columns:
            return None
        if not all(isinstance(value, float if name != "empty" else str) for name, value in record.items()):
            return None
    return values, note


def _check_geometry(task: MeasureTask, reference: Geometry, prediction: Geometry) -> str:
    image = None
    if task.image is not None and prediction.differences(reference):
        try:
            array, properties = task.reader().read_images((str(task.image),))
        except Exception as error:  # each reader has its own family of errors for a broken file
            raise unreadable(task.image, error) from error
        image = (task.image, Geometry.of(array.shape[1:], properties))
    return check_geometry((task.reference, reference), (task.prediction, prediction), image)


def _check_values(path: Path, labels: np.ndarray, allowed: frozenset[int]) -> None:
    undefined = sorted({int(value) for value in pd.unique(labels.ravel())} - allowed)
    if undefined:
        raise ValueError(
            f"{path}: holds label values {undefined}, which dataset.json does not define (it has "
            f"{sorted(allowed)}). Correct the file, or the dataset.json."
        )
