"""Prediction of a folder: cases are read ahead and written behind, while one is in the network."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from nnunetv2_masam.nnunet_files import dataset_name, folder_of, read_dataset_json
from nnunetv2_masam.predict.cases import Case, find_cases
from nnunetv2_masam.predict.model import Model, load_model
from nnunetv2_masam.predict.output import prepare_output, write_labels
from nnunetv2_masam.predict.request import PredictRequest


@dataclass(frozen=True)
class Progress:
    """Where a prediction stands.

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
    """What a prediction came to.

    Attributes:
        written: segmentations.
        kept: cases that were segmented before.
        failed: case → why there is no segmentation.
        seconds: case → time that it took beside reading and writing.
    """

    written: list[Path] = field(default_factory=list)
    kept: Sequence[str] = ()
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def model_folder_of(request: PredictRequest) -> Path:
    """The model folder that a request names.

    Raises:
        ValueError: it names none, or two.
    """
    if request.model_folder is not None:
        if request.dataset is not None:
            raise ValueError("-m and -d: got both, expected a model folder (-m), or dataset and configuration (-d -c)")
        return request.model_folder
    if request.dataset is None or request.configuration is None:
        raise ValueError("model: got none, expected a model folder (-m), or dataset and configuration (-d -c)")
    name = f"{request.trainer}__{request.plans}__{request.configuration}"
    return folder_of("nnUNet_results") / dataset_name(request.dataset) / name


def predict(
    request: PredictRequest, model: Model | None = None, progress: Callable[[Progress], None] = lambda progress: None
) -> Prediction:
    """Predict a folder of images.

    Args:
        request: what to predict.
        model: of the same model folder, if it is loaded already.
        progress: called when a case is begun and after each slab.

    Returns:
        what was written, and which cases could not be read or predicted; these do not stop the others.

    Raises:
        ValueError: the request or the model is unusable.
        OSError: a segmentation could not be written. Earlier ones are whole.
    """
    folder = model_folder_of(request)
    cases = _cases(request, folder)
    done = [case for case in cases if request.continue_prediction and _target(request, folder, case).is_file()]
    left = {case: files for case, files in cases.items() if case not in done}
    result = Prediction(kept=done)
    prepare_output(request, folder)
    if not left:
        return result
    model = model or load_model(
        folder,
        request.folds,
        request.checkpoint,
        step_size=request.step_size,
        mirroring=request.mirroring,
        device=request.device,
        on_device=request.on_device,
    )
    _check_stages(request, model)
    _predict_cases(request, folder, model, left, result, progress)
    return result


def _cases(request: PredictRequest, folder: Path) -> dict[str, list[Path]]:
    """The cases of this part, after checking the request."""
    for name in ("num_parts", "preprocessing_threads", "writing_threads"):
        if getattr(request, name) < 1:
            raise ValueError(f"{name}: got {getattr(request, name)}, expected at least 1")
    if not 0 <= request.part_id < request.num_parts:
        raise ValueError(f"part_id: got {request.part_id}, expected 0 to {request.num_parts - 1}, below num_parts")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such model folder. Train the model, or give another folder")
    cases = find_cases(request.images, read_dataset_json(folder)["file_ending"])
    return dict(islice(cases.items(), request.part_id, None, request.num_parts))


def _check_stages(request: PredictRequest, model: Model) -> None:
    previous = model.predictor.configuration_manager.previous_stage_name
    if previous and request.previous_stage is None:
        raise ValueError(
            f"the model is the second stage of a cascade: predict the images with {previous} first, and give its output "
            "with -prev_stage_predictions"
        )
    if request.previous_stage is not None and not previous:
        raise ValueError("-prev_stage_predictions: the model is not the second stage of a cascade, expected none")


def _target(request: PredictRequest, folder: Path, case: str) -> Path:
    return request.output / f"{case}{read_dataset_json(folder)['file_ending']}"


def _predict_cases(
    request: PredictRequest,
    folder: Path,
    model: Model,
    cases: Mapping[str, list[Path]],
    result: Prediction,
    progress: Callable[[Progress], None],
) -> None:
    """The pipeline; its threads end with it, and with the process at the latest."""

    def read(case: str) -> Case:
        return model.read(cases[case], request.previous_stage and _previous(request.previous_stage, model, case))

    def write(case: str, labels: object, properties: object) -> Path:
        path = _target(request, folder, case)
        write_labels(model.predictor, labels, path, properties)  # type: ignore[arg-type]
        return path

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
                result.failed[name] = reason(error)
                continue
            result.seconds[name] = time.perf_counter() - started
            writing.append(writer.submit(write, name, labels, case.properties))
            while len(writing) > writers:
                result.written.append(writing.popleft().result())
        result.written.extend(future.result() for future in writing)


def _read_ahead(
    executor: ThreadPoolExecutor, read: Callable[[str], Case], cases: Sequence[str], ahead: int
) -> Iterator[tuple[str, Future[Case]]]:
    """Cases with their future contents, of which ``ahead`` are read while one is used."""
    left = iter(cases)
    waiting = deque((case, executor.submit(read, case)) for case in islice(left, ahead))
    while waiting:
        current = waiting.popleft()
        waiting.extend((case, executor.submit(read, case)) for case in islice(left, 1))
        yield current


def _previous(folder: Path, model: Model, case: str) -> Path:
    path = folder / f"{case}{model.predictor.dataset_json['file_ending']}"
    if not path.is_file():
        raise ValueError(f"{path}: no segmentation of the previous stage. Predict it first")
    return path


def reason(error: Exception) -> str:
    """Why a case failed, in one line; readers put theirs into the last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and isinstance(error, (ValueError, OSError, RuntimeError, AssertionError)):
        return lines[-1]
    return "its files do not fit together: other shapes or spacings" if type(error) is RuntimeError else repr(error)
