"""The labels or regions that are compared, read from a ``dataset.json`` by nnU-Net's label manager."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunetv2_masam.evaluation.request import SEEN
from nnunetv2_masam.files import read_json
from nnunetv2_masam.label_files import plain_name
from nnunetv2_masam.nnunet_files import check_labels, foreground_labels

if TYPE_CHECKING:
    from nnunetv2_masam.evaluation.nnunet_results import Model
    from nnunetv2_masam.evaluation.request import CompareRequest


@dataclass(frozen=True)
class Structure:
    """One label or region, with the values that mean it in the reference and in the prediction.

    Attributes:
        name: its name in ``dataset.json``.
        key: its key in nnU-Net's ``summary.json``, such as ``"1"`` or ``"(1, 2)"``.
        reference_values: label values that make it up in the reference.
        prediction_values: label values that make it up in the prediction.
    """

    name: str
    key: str
    reference_values: tuple[int, ...]
    prediction_values: tuple[int, ...]


@dataclass(frozen=True)
class LabelScheme:
    """The labels of one dataset.

    Attributes:
        structures: foreground labels, or regions where the dataset has regions, in nnU-Net's order.
        defined_values: every label value that may occur, background included, ignore label excluded.
        ignore_label: the value of voxels that do not count, if there is one.
    """

    structures: tuple[Structure, ...]
    defined_values: frozenset[int]
    ignore_label: int | None


def read_label_scheme(dataset_json: Mapping[str, Any], plans: Mapping[str, Any] | None = None) -> LabelScheme:
    """Read the labels of a dataset with nnU-Net's label manager, the plans' one where there are plans.

    Raises:
        ValueError: nnU-Net does not take the labels.
    """
    try:
        if plans is not None and "label_manager" in plans:
            manager = PlansManager(dict(plans)).get_label_manager(dict(dataset_json))
        else:
            manager = LabelManager(dataset_json["labels"], dataset_json.get("regions_class_order"))
    except (AssertionError, RuntimeError, TypeError, KeyError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"nnU-Net does not take the labels {dataset_json.get('labels')!r}: {reason}") from error
    names = {_as_tuple(value): name for name, value in dataset_json["labels"].items()}
    found = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    structures = []
    for label_or_region in found:
        values = _as_tuple(label_or_region)
        key = str(tuple(label_or_region)) if isinstance(label_or_region, (tuple, list)) else str(label_or_region)
        structures.append(Structure(names.get(values, key), key, values, values))
    return LabelScheme(tuple(structures), frozenset(int(value) for value in manager.all_labels), manager.ignore_label)


def _as_tuple(label_or_region: Any) -> tuple[int, ...]:
    if isinstance(label_or_region, (tuple, list)):
        return tuple(int(value) for value in label_or_region)
    return (int(label_or_region),)


@dataclass(frozen=True)
class ModelLabels:
    """Label values of one model's predictions, and the structures that they mean.

    Attributes:
        structures: what to measure; the same names in the same order for all models of a comparison.
        prediction_values: label values that its predictions may hold.
    """

    structures: tuple[Structure, ...]
    prediction_values: frozenset[int]


def labels_by_model(
    request: CompareRequest, models: Sequence[Model], scheme: LabelScheme, dataset_json: dict[str, Any]
) -> tuple[dict[str, ModelLabels], list[str]]:
    """Find what each model's label values mean, with notes on labels that were merged or left out.

    Args:
        request: whether labels are matched by name, and with which files.
        models: the models.
        scheme: labels of the references.
        dataset_json: of the references.

    Raises:
        ValueError: a model was trained on other labels, or nothing says on which.
    """
    if not request.match_labels_by_name:
        for model in models:
            if model.dataset_json is not None and model.dataset_json["labels"] != dataset_json["labels"]:
                raise ValueError(
                    f"{model.folder}/dataset.json: its labels {model.dataset_json['labels']} "
                    f"are not those of the references ({dataset_json['labels']}). "
                    "Compare the labels they share with --match-labels-by-name."
                )
        return {model.name: ModelLabels(scheme.structures, scheme.defined_values) for model in models}, []
    label_map = None
    if request.label_map is not None:
        label_map = read_label_map(read_json(request.label_map), str(request.label_map))
    named: dict[str, dict[str, Any]] = {}
    for model in models:
        content = labels_of_predictions(request, model)
        if model.values is not None:
            content = content or dataset_json  # a table has names, and no values to match
        if content is None:
            raise ValueError(
                f"{model.folder}: no dataset.json says what its labels mean. "
                f"Give it with --prediction-labels {model.name.removesuffix(SEEN)}=dataset.json."
            )
        named[model.name] = content
    return match_by_name(dataset_json, named, label_map)


def labels_of_predictions(request: CompareRequest, model: Model) -> dict[str, Any] | None:
    """The ``dataset.json`` that says what a model's label values mean: the request's, else what is beside it, if any.

    Raises:
        ValueError: the file cannot be read, or has no labels.
    """
    given = model.name.removesuffix(SEEN)
    path = request.prediction_labels.get(given, request.prediction_labels.get(None))
    if path is None:
        return model.dataset_json
    content: dict[str, Any] = read_json(path, dict)
    check_labels(path, content)
    return content


# a name → the ways to make it up: another name for it, or names that are merged into it
LabelMap = Mapping[str, Sequence["str | Sequence[str]"]]


def read_label_map(content: Any, path: str) -> dict[str, list[str | list[str]]]:
    """Check the content of a map file.

    Example::

        {"adrenal gland": ["suprarenal gland", ["right adrenal gland", "left adrenal gland"]]}

    "adrenal gland" is what a dataset calls so, or "suprarenal gland", or its two labels merged: the first of
    these that the dataset has completely.
    """
    ok = isinstance(content, dict) and all(
        isinstance(ways, list)
        and all(
            isinstance(way, str) or (way and isinstance(way, list) and set(map(type, way)) == {str}) for way in ways
        )
        for ways in content.values()
    )
    if not ok:
        raise ValueError(
            f'{path}: expected {{"name": ["synonym", ["merged", "together"]]}}, '
            "for each name a list of names or of lists of names"
        )
    return dict(content)


def match_by_name(
    reference_json: Mapping[str, Any],
    prediction_jsons: Mapping[str, Mapping[str, Any]],
    label_map: LabelMap | None = None,
) -> tuple[dict[str, ModelLabels], list[str]]:
    """Match labels by name, over the references and all models.

    Names are equal where they differ only in case, underscores, hyphens or spaces.

    Args:
        reference_json: ``dataset.json`` of the references.
        prediction_jsons: ``dataset.json`` of what each model was trained on, by model.
        label_map: synonyms and merges.

    Returns:
        the labels that all share, by model, and notes on what was merged and what was left out.

    Raises:
        ValueError: if nothing is shared.
    """
    ways = _ways_to_make_up(label_map or {})
    reference = _named_values(reference_json)
    predictions = {model: _named_values(content) for model, content in prediction_jsons.items()}
    merged = {plain_name(part) for alternatives in ways.values() for way in alternatives for part in way}
    candidates = [*ways, *(name for name in reference if name not in merged)]
    names = {plain_name(name): name for name in [*(label_map or {}), *reference_json["labels"]]}
    structures: dict[str, list[Structure]] = {model: [] for model in predictions}
    notes, left_out = [], []
    for name in candidates:
        alternatives = ways.get(name, [[name]])
        used = _first_complete(alternatives, reference)
        used_by = {model: _first_complete(alternatives, there) for model, there in predictions.items()}
        if used is None or None in used_by.values():
            lacking = [model for model, found in used_by.items() if found is None]
            left_out.append(f"{names[name]} (not in {', '.join(lacking) if used else 'the references'})")
            continue
        for model, found in used_by.items():
            values = _union(predictions[model], found or [])
            structures[model].append(Structure(names[name], "", _union(reference, used), values))
        described = {" + ".join(parts) for parts in (used, *used_by.values()) if parts} - {name}
        if described:
            notes.append(f"{names[name]} stands for: {'; '.join(sorted(described))}")
    if not any(structures.values()):
        there = "; ".join(f"{model} has {sorted(values)}" for model, values in predictions.items())
        raise ValueError(
            f"no label is shared by name: the references have {sorted(reference)}; {there}. "
            "Name synonyms and merges in a file for --label-map."
        )
    if left_out:
        notes.append(f"labels left out: {', '.join(left_out)}")
    defined = {model: read_label_scheme(content).defined_values for model, content in prediction_jsons.items()}
    return {model: ModelLabels(tuple(found), defined[model]) for model, found in structures.items()}, notes


def _ways_to_make_up(label_map: LabelMap) -> dict[str, list[list[str]]]:
    """Plain name → lists of names that are merged into it: first itself, then what the map names."""
    return {
        plain_name(name): [[name], *([way] if isinstance(way, str) else list(way) for way in ways)]
        for name, ways in label_map.items()
    }


def _named_values(dataset_json: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {plain_name(name): _as_tuple(value) for name, value in foreground_labels(dataset_json).items()}


def _first_complete(alternatives: Sequence[Sequence[str]], there: Mapping[str, Any]) -> list[str] | None:
    plain = ([plain_name(part) for part in way] for way in alternatives)
    return next((way for way in plain if all(part in there for part in way)), None)


def _union(named: Mapping[str, tuple[int, ...]], names: Sequence[str]) -> tuple[int, ...]:
    return tuple(sorted({value for name in names for value in named[name]}))
