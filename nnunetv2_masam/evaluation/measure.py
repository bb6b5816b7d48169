"""Measure many cases in several processes, and cache the values by the content of the files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from nnunetv2.configuration import default_num_processes
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from tqdm import tqdm

from nnunetv2_masam.evaluation.label_arrays import METRICS_REVISION, measure_labels
from nnunetv2_masam.evaluation.labels import Structure
from nnunetv2_masam.evaluation.metrics import MetricSettings, library_versions
from nnunetv2_masam.evaluation.segmentation import (
    Geometry,
    check_geometry,
    spacing_of,
)
from nnunetv2_masam.files import read_json, sha256_of, write_text
from nnunetv2_masam.images import unreadable
from nnunetv2_masam.label_files import check_defined, check_segment_names, read_labels
from nnunetv2_masam.processes import start_worker, usable_cpus

Values = dict[str, dict[str, Any]]  # by structure, by column
FLAGS = ("in_reference", "in_prediction")
REMEMBERED = ("values", "note", "rounded", "image_sha256")


@dataclass(frozen=True)
class Protocol:
    """Settings of the measurement of a model's predictions.

    Attributes:
        reader: nnU-Net's reader class for the files.
        structures: labels or regions.
        tolerances_mm: NSD tolerance of each structure.
        ignore_label: of the reference.
        reference_values: label values that the reference may hold, the ignore label included.
        prediction_values: label values that the prediction may hold.
        settings: the metrics and their definitions.
    """

    reader: type[BaseReaderWriter]
    structures: tuple[Structure, ...]
    tolerances_mm: tuple[float, ...]
    ignore_label: int | None
    reference_values: frozenset[int]
    prediction_values: frozenset[int]
    settings: MetricSettings = field(default_factory=MetricSettings)


class Pair(NamedTuple):
    """A prediction to measure; the image is read only where the other two do not lie in one place."""

    reference: Path
    prediction: Path
    image: Path | None
    protocol: Protocol


class Measured(NamedTuple):
    """Values measured of a pair of files, or the error that names the file.

    Attributes:
        values: by structure and column.
        note: where the reference's header is slightly off.
        rounded: where label values had to be rounded.
        image_sha256: of the image, where it decided that reference and prediction lie in one place.
        error: why there are no values.
    """

    values: Values
    note: str = ""
    rounded: str = ""
    image_sha256: str = ""
    error: str = ""


def measure(pair: Pair) -> Measured:
    """Read, check and measure one pair of files.

    Raises:
        ValueError: naming the file, where it is broken, lies elsewhere or has labels that are not defined.
    """
    protocol = pair.protocol
    reference = read_labels(pair.reference, protocol.reader)
    prediction = read_labels(pair.prediction, protocol.reader)
    note, image_sha256 = _check_geometry(
        pair,
        Geometry.of(reference.labels.shape, reference.properties),
        Geometry.of(prediction.labels.shape, prediction.properties),
    )
    check_segment_names(pair.reference, {part.name: part.reference_values for part in protocol.structures})
    check_segment_names(pair.prediction, {part.name: part.prediction_values for part in protocol.structures})
    check_defined(pair.reference, reference.labels, protocol.reference_values)
    check_defined(pair.prediction, prediction.labels, protocol.prediction_values)
    rows = measure_labels(
        reference.labels,
        prediction.labels,
        protocol.structures,
        spacing_of(reference.properties),
        protocol.tolerances_mm,
        protocol.ignore_label,
        protocol.settings,
    )
    rounded = "; ".join(filter(None, (reference.note, prediction.note)))
    return Measured({str(row.pop("label")): row for row in rows}, note, rounded, image_sha256)


def measure_all(
    cases: pd.DataFrame,
    protocols: Mapping[str, Protocol],
    cache: Path | None,
    processes: int | None = None,
    progress: bool = True,
) -> list[Measured]:
    """Measure all rows, in their order; errors come back so that one broken file does not hide the others.

    Args:
        cases: ``model`` and the files ``reference``, ``prediction``, ``image`` of each row.
        protocols: what to measure, by model.
        cache: folder of remembered values; None remembers nothing.
        processes: nnU-Net's default number, at most one per core, if not given.
        progress: show a bar.

    Raises:
        ValueError: a process was killed. What was measured before is remembered.
    """
    if processes is None:
        processes = min(default_num_processes, usable_cpus())
    done: dict[int, Measured] = {}
    jobs: list[tuple[int, Pair, Path | None]] = []
    hashes: dict[Path, str] = {}
    for place, row in enumerate(cases[["reference", "prediction", "image", "model"]].itertuples(index=False)):
        pair = Pair(row.reference, row.prediction, row.image, protocols[row.model])
        entry = _cache_entry(pair, cache, hashes)
        remembered = None if entry is None else _recall(entry, pair)
        if remembered is None:
            jobs.append((place, pair, entry))
        else:
            done[place] = remembered
    with tqdm(total=len(jobs), desc="measuring", unit="case", disable=None if progress else True) as bar:
        for place, result in _run(jobs, min(processes, len(jobs))):
            done[place] = result
            bar.update()
    return [done[place] for place in range(len(cases))]


def _run(jobs: Sequence[tuple[int, Pair, Path | None]], processes: int) -> Iterator[tuple[int, Measured]]:
    if processes <= 1:
        yield from map(_measure_safely, jobs)
        return
    finished, spawn = 0, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=start_worker) as pool:
        futures = [pool.submit(_measure_safely, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
                finished += 1
        except BrokenProcessPool as error:
            kept = "; they are remembered" if jobs[0][2] is not None else ""
            # a process starts by importing the script, which would compare again
            guard = "" if finished else ' A script has to call this under `if __name__ == "__main__":`.'
            raise ValueError(
                f"a measuring process was killed, probably because memory ran out, after {finished} of {len(jobs)} "
                f"cases{kept}. Use fewer processes: -np {max(1, processes // 2)}.{guard}"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)  # after an interruption, not the rest of the queue first


def _measure_safely(job: tuple[int, Pair, Path | None]) -> tuple[int, Measured]:
    place, pair, entry = job
    try:
        found = measure(pair)
    except MemoryError as error:
        return place, Measured({}, error=f"{pair.prediction}: not enough memory ({error})")
    except (OSError, ValueError) as error:
        return place, Measured({}, error=str(error))
    if entry is not None:
        # a full or read-only disk only costs time: the values are measured again
        with contextlib.suppress(OSError):
            write_text(entry, json.dumps({name: getattr(found, name) for name in REMEMBERED}))
    return place, found


def _cache_entry(pair: Pair, cache: Path | None, hashes: dict[Path, str]) -> Path | None:
    """The file named by a hash of everything that the values depend on: both files, the settings, the libraries."""
    if cache is None:
        return None
    try:
        for path in (pair.reference, pair.prediction):
            if path not in hashes:
                hashes[path] = sha256_of(path)
    except OSError:  # an unreadable file is named when it is to be measured
        return None
    protocol = asdict(pair.protocol) | {"reader": pair.protocol.reader.__name__}
    for name in ("reference_values", "prediction_values"):
        protocol[name] = sorted(protocol[name])
    settings = [hashes[pair.reference], hashes[pair.prediction], protocol, METRICS_REVISION, library_versions()]
    return cache / f"{hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()}.json"


def _recall(entry: Path, pair: Pair) -> Measured | None:
    """What was remembered; None if that is nothing, not what this version writes, or decided by another image."""
    if not entry.is_file():
        return None
    try:
        content = read_json(entry, dict)
    except ValueError:
        return None
    values, *notes = (content.get(name) for name in REMEMBERED)
    kinds = dict.fromkeys(pair.protocol.settings.columns, float) | dict.fromkeys(FLAGS, bool)
    if not isinstance(values, dict) or not all(isinstance(note, str) for note in notes):
        return None
    if notes[-1] and (pair.image is None or not pair.image.is_file() or notes[-1] != sha256_of(pair.image)):
        return None
    whole = set(values) == {structure.name for structure in pair.protocol.structures} and all(
        isinstance(record, dict) and {name: type(value) for name, value in record.items()} == kinds
        for record in values.values()
    )
    return Measured(values, *notes) if whole else None


def _check_geometry(pair: Pair, reference: Geometry, prediction: Geometry) -> tuple[str, str]:
    """The note on the geometry, and the hash of the image if that was needed."""
    image, image_sha256 = None, ""
    if pair.image is not None and prediction.differences(reference):
        try:
            array, properties = pair.protocol.reader().read_images((str(pair.image),))
        except Exception as error:  # each reader has its own family of errors for a broken file
            raise unreadable(pair.image, error) from error
        image, image_sha256 = (pair.image, Geometry.of(array.shape[1:], properties)), sha256_of(pair.image)
    return check_geometry((pair.reference, reference), (pair.prediction, prediction), image), image_sha256
