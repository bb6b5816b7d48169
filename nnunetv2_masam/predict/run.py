"""Prediction of a folder: cases are read ahead and written behind, while one is in the network."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from nnunetv2_masam.files import list_folder
from nnunetv2_masam.nnunet_files import read_dataset_json
from nnunetv2_masam.predict.cases import Case, find_cases
from nnunetv2_masam.predict.loading import load_model, model_folder
from nnunetv2_masam.predict.model import Model
from nnunetv2_masam.predict.output import prepare_output, write_labels
from nnunetv2_masam.predict.request import PredictRequest


@dataclass(frozen=True)
class Progress:
    """Progress of a prediction.

    Attributes:
        case: that is predicted.
        number: of the case, from 1.
        cases: how many there are.
        done: slices of the case that have labels.
        slices: how many the case has; 0 while it is read.
    """

    case: str
    number: int
    cases: int
    done: int = 0
    slices: int = 0


@dataclass(frozen=True)
class Prediction:
    """Result of a prediction.

    Attributes:
        written: segmentations.
        kept: cases that were segmented before.
        failed: case → why there is no segmentation.
        seconds: case → time from the preprocessed image to its labels.
    """

    written: list[Path] = field(default_factory=list)
    kept: Sequence[str] = ()
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def predict(
    request: PredictRequest, model: Model | None = None, progress: Callable[[Progress], None] = lambda progress: None
) -> Prediction:
    """Predict a folder of images.

    Args:
        request: what to predict.
        model: the one of the request, if it is loaded already.
        progress: called when a case is begun and after each slab.

    Returns:
        what was written, and which cases could not be read or predicted; these do not stop the others.

    Raises:
        ValueError: the request or the model is unusable.
        OSError: a segmentation could not be written. Earlier ones are whole.
    """
    if not 0 <= request.part_id < request.num_parts:
        raise ValueError(f"-part_id: got {request.part_id}, expected 0 to {request.num_parts - 1}, below -num_parts")
    folder = model_folder(request.model)
    ending = read_dataset_json(folder)["file_ending"]
    cases = dict(islice(find_cases(request.images, ending).items(), request.part_id, None, request.num_parts))
    there = {case for case in cases if (request.output / f"{case}{ending}").is_file()}
    kept = there if request.continue_prediction else set()
    result = Prediction(kept=sorted(kept))
    if left := {case: files for case, files in cases.items() if case not in kept}:
        model = model or load_model(request.model)
        _check_stages(request, model)
        prepare_output(request, folder)
        _predict_cases(request, model, left, result, progress)
    return result


def _check_stages(request: PredictRequest, model: Model) -> None:
    stage, folder = model.predictor.configuration_manager.previous_stage_name, request.previous_stage
    if stage and folder is None:
        raise ValueError(
            f"the model is the second stage of a cascade: predict the images with {stage} first, and give its output "
            "with -prev_stage_predictions"
        )
    if folder is not None and not stage:
        raise ValueError(f"-prev_stage_predictions: got {folder}, expected none: the model is no second stage")
    if folder is not None:
        list_folder(folder)


def _predict_cases(
    request: PredictRequest,
    model: Model,
    cases: Mapping[str, list[Path]],
    result: Prediction,
    progress: Callable[[Progress], None],
) -> None:
    """The pipeline, of threads: they cannot outlive the process."""
    ending, stage = model.predictor.dataset_json["file_ending"], request.previous_stage

    def read(case: str) -> Case:
        return model.read(cases[case], None if stage is None else stage / f"{case}{ending}")

    writing: deque[Future[Path]] = deque()
    readers, writers = request.preprocessing_threads, request.writing_threads
    with ThreadPoolExecutor(readers) as reader, ThreadPoolExecutor(writers) as writer:
        for number, (name, reading) in enumerate(_read_ahead(reader, read, list(cases), readers), 1):
            progress(Progress(name, number, len(cases)))

            def report(done: int, slices: int, name: str = name, number: int = number) -> None:
                progress(Progress(name, number, len(cases), done, slices))

            try:
                case = reading.result()
                started = time.perf_counter()
                labels = model.segment(case, report)
            except Exception as error:  # whatever a reader raises; the case is named at the end
                result.failed[name] = _reason(error)
                continue
            result.seconds[name] = time.perf_counter() - started
            target = request.output / f"{name}{ending}"
            writing.append(writer.submit(write_labels, model.predictor, labels, target, case.properties))
            while len(writing) > writers:
                result.written.append(writing.popleft().result())
        result.written.extend(future.result() for future in writing)


def _read_ahead(
    executor: ThreadPoolExecutor, read: Callable[[str], Case], cases: Sequence[str], ahead: int
) -> Iterator[tuple[str, Future[Case]]]:
    """Cases with their future contents; ``ahead`` are read while one is used."""
    left = iter(cases)
    waiting = deque((case, executor.submit(read, case)) for case in islice(left, ahead))
    while waiting:
        current = waiting.popleft()
        waiting.extend((case, executor.submit(read, case)) for case in islice(left, 1))
        yield current


def _reason(error: Exception) -> str:
    """Why a case failed, in one line; readers put theirs into the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and isinstance(error, (ValueError, OSError, RuntimeError, AssertionError)):
        return lines[-1]
    return "its files do not fit together: other shapes or spacings" if type(error) is RuntimeError else repr(error)
