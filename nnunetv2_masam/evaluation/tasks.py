"""What to measure: of every model and case the files, what its label values mean, and the tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnunetv2.imageio.base_reader_writer import BaseReaderWriter

from nnunetv2_masam.evaluation.labels import (
    LabelScheme,
    ModelLabels,
    Structure,
    match_by_name,
    read_label_map,
    same_labels,
)
from nnunetv2_masam.evaluation.lineup import LineUp
from nnunetv2_masam.evaluation.measure import MeasureTask
from nnunetv2_masam.evaluation.request import CompareRequest
from nnunetv2_masam.evaluation.results import Model
from nnunetv2_masam.files import read_json
from nnunetv2_masam.nnunet_files import check_labels, first_channel


def labels_by_model(
    request: CompareRequest,
    models: Sequence[Model],
    scheme: LabelScheme,
    dataset_json: dict[str, Any],
) -> tuple[dict[str, ModelLabels], list[str]]:
    """What each model's label values mean, and notes on labels that were merged or left out.

    Args:
        request: whether labels are matched by name, and with which files.
        models: the models.
        scheme: labels of the references.
        dataset_json: of the references.

    Raises:
        ValueError: a model was trained on other labels, or nothing says on which.
    """
    if not request.match_labels_by_name:
        _refuse_other_labels(models, dataset_json)
        return {model.name: same_labels(scheme) for model in models}, []
    label_map = None
    if request.label_map is not None:
        label_map = read_label_map(read_json(request.label_map), str(request.label_map))
    named: dict[str, dict[str, Any]] = {}
    for model in models:
        path = request.prediction_labels.get(model.name, request.prediction_labels.get(None))
        content = model.dataset_json
        if path is not None:
            content = read_json(path, dict)
            check_labels(path, content or {})
        if model.measured_elsewhere is not None:
            content = content or dataset_json  # a table has names, and no values to match
        if content is None:
            raise ValueError(
                f"{model.folder}: no dataset.json says what its labels mean. "
                f"Give it with --prediction-labels {model.name}=dataset.json."
            )
        named[model.name] = content
    return match_by_name(dataset_json, named, label_map)


def _refuse_other_labels(models: Sequence[Model], dataset_json: dict[str, Any]) -> None:
    for model in models:
        if model.dataset_json is not None and model.dataset_json["labels"] != dataset_json["labels"]:
            raise ValueError(
                f"{model.folder}/dataset.json: its labels {model.dataset_json['labels']} "
                f"are not those of the references ({dataset_json['labels']}). "
                "Compare the labels they share with --match-labels-by-name."
            )


def tolerances_by_structure(structures: Sequence[Structure], request: CompareRequest) -> dict[str, float]:
    """NSD tolerance in mm of each structure.

    Raises:
        ValueError: one is given for a label that there is not.
    """
    by_label = request.tolerance_by_label_mm
    unknown = set(by_label) - {structure.name for structure in structures}
    if unknown:
        known = ", ".join(structure.name for structure in structures)
        raise ValueError(f"--tolerance of unknown labels {sorted(unknown)}; the labels are: {known}")
    return {structure.name: by_label.get(structure.name, request.tolerance_mm) for structure in structures}


def tasks_of(
    lineup: LineUp,
    scheme: LabelScheme,
    labels: Mapping[str, ModelLabels],
    reader: type[BaseReaderWriter],
    tolerances_mm: tuple[float, ...],
    request: CompareRequest,
    file_ending: str,
) -> list[MeasureTask]:
    """One task per model, but for those that another tool measured, and case."""
    ignored = frozenset() if scheme.ignore_label is None else frozenset({scheme.ignore_label})
    return [
        MeasureTask(
            model=model.name,
            case=case,
            reference=lineup.references[case],
            prediction=model.cases[case].path,
            image=first_channel(request.images, case, file_ending),
            reader=reader,
            structures=labels[model.name].structures,
            tolerances_mm=tolerances_mm,
            ignore_label=scheme.ignore_label,
            reference_values=scheme.defined_values | ignored,
            prediction_values=labels[model.name].prediction_values,
            settings=request.metrics,
        )
        for model in lineup.models
        if model.measured_elsewhere is None
        for case in lineup.cases
    ]
