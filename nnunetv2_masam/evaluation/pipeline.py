"""The comparison from start to end: find the models, line them up, measure, collect; and write all files.

Example::

    from nnunetv2_masam.evaluation.pipeline import CompareRequest, ModelSource, compare_models, write_comparison

    request = CompareRequest(dataset="4", models=(ModelSource("nnUNetTrainer"), ModelSource("nnUNetTrainerMASAM")))
    comparison = compare_models(request)
    print(comparison.summaries["nnUNetTrainerMASAM"]["Anterior"]["Dice"].mean)
    write_comparison(comparison, Path("comparison"))
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnunetv2_masam import __version__
from nnunetv2_masam.evaluation import report, results
from nnunetv2_masam.evaluation.analysis import analyse
from nnunetv2_masam.evaluation.case_tables import read_groups, records_measured_elsewhere
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.labels import Structure, read_label_scheme
from nnunetv2_masam.evaluation.lineup import LineUp, line_up
from nnunetv2_masam.evaluation.measure import Measured, MeasureTask, measure_all
from nnunetv2_masam.evaluation.metrics import MetricSettings, library_versions
from nnunetv2_masam.evaluation.paired_tests import BOOTSTRAP_RESAMPLES, PERMUTATIONS, SIGNIFICANCE
from nnunetv2_masam.evaluation.prompted import oracle_prompts
from nnunetv2_masam.evaluation.request import CompareRequest, ModelSource
from nnunetv2_masam.evaluation.sources import find_models, folds_to_read
from nnunetv2_masam.evaluation.tasks import labels_by_model, tasks_of, tolerances_by_structure
from nnunetv2_masam.files import list_folder, shortened
from nnunetv2_masam.images import find_reader
from nnunetv2_masam.nnunet_files import dataset_name, find_dataset_json, read_dataset_json, reference_folder

__all__ = ["CompareRequest", "ModelSource", "check_output", "compare_models", "write_comparison"]


def compare_models(request: CompareRequest) -> Comparison:
    """Measure all models over the same cases and compare them.

    Raises:
        ValueError: with everything that does not line up or cannot be measured, by file or option.
    """
    return _compare_dataset(request, request.dataset) if request.dataset is not None else _compare_test_set(request)


def write_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Write the tables, ``cases.csv``, ``summary.json`` and ``report.html``; returns the names of the files."""
    check_output(folder)
    return sorted(path.name for path in report.write_files(comparison, folder, comparison.images))


def check_output(folder: Path) -> None:
    """Refuse what can be no output folder, before anything is measured."""
    for path in (folder, *folder.absolute().parents):
        if path.exists() or path.is_symlink():
            if not path.is_dir():
                raise ValueError(f"{path}: is a file, expected a folder for the output (-o). Choose another name.")
            if not os.access(path, os.W_OK | os.X_OK):
                raise ValueError(
                    f"{path}: may not be written to, but is to hold the output (-o). Choose another folder."
                )
            return


def _compare_dataset(request: CompareRequest, specified: str) -> Comparison:
    dataset = dataset_name(specified)
    splits = results.find_splits(dataset, request.folds)
    if splits is not None and (unknown := sorted(set(request.folds or ()) - set(splits))):
        raise ValueError(f"--folds {unknown}: the cross-validation has the folds {sorted(splits)}")
    found = find_models(request.models, dataset)
    folders = [model.path for model in found if model.path.is_dir()]
    dataset_json = _read_dataset_json(request.dataset_json or find_dataset_json(dataset, folders))
    models = [
        model.read(dataset_json["file_ending"], folds_to_read(dataset, model.few_shot, splits, request.folds))
        for model in found
    ]
    references = request.references or reference_folder(dataset)
    where = "the cross-validation" if request.folds is None else f"fold {', '.join(map(str, request.folds))}"
    plans = next((model.plans for model in models if model.plans is not None), None)
    lineup = _line_up(request, models, references, dataset_json, splits)
    return _compare(
        replace(request, images=request.images or results.find_images(dataset)),
        lineup,
        dataset_json,
        plans,
        f"{dataset}: {{n}} cases of {where}",
    )


def _compare_test_set(request: CompareRequest) -> Comparison:
    assert request.references is not None
    assert request.dataset_json is not None
    dataset_json = _read_dataset_json(request.dataset_json)
    models = [model.read(dataset_json["file_ending"]) for model in find_models(request.models)]
    name = dataset_json.get("name", request.references.resolve().parent.name)
    lineup = _line_up(request, models, request.references, dataset_json, None)
    return _compare(request, lineup, dataset_json, None, f"{name}: {{n}} test cases")


def _read_dataset_json(path: Path) -> dict[str, Any]:
    """Read the ``dataset.json`` of the references, with labels that nnU-Net takes; channels do not matter here."""
    content = read_dataset_json(path, with_channels=False)
    try:
        read_label_scheme(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return content


def _line_up(
    request: CompareRequest,
    models: Sequence[results.Model],
    references: Path,
    dataset_json: Mapping[str, Any],
    splits: Mapping[int, Sequence[str]] | None,
) -> LineUp:
    for model in models:
        if model.folder.resolve() == references.resolve():
            raise ValueError(f"{model.name} and the references are the same folder, {references}")
    lineup = line_up(
        models,
        references,
        dataset_json["file_ending"],
        splits=splits,
        folds=request.folds,
        common=request.common,
        same_labels=not request.match_labels_by_name,
    )
    return lineup if request.groups is None else replace(lineup, groups=read_groups(request.groups, lineup.cases))


def _compare(
    request: CompareRequest,
    lineup: LineUp,
    dataset_json: dict[str, Any],
    plans: dict[str, Any] | None,
    title: str,
) -> Comparison:
    if request.images is not None:
        list_folder(request.images)
    names = [model.name for model in lineup.models]
    baseline = request.baseline or names[0]
    if baseline not in names:
        raise ValueError(f"baseline {baseline!r} is not among the models: {', '.join(names)}")
    prompts = oracle_prompts(request.oracles, names)
    models = [replace(model, prompt=prompts.get(model.name, model.prompt)) for model in lineup.models]
    scheme = read_label_scheme(dataset_json, plans)
    labels, notes = labels_by_model(request, models, scheme, dataset_json)
    lineup = replace(lineup, models=tuple(models), notes=(*lineup.notes, *notes))
    reader = find_reader(dataset_json, plans, lineup.references[lineup.cases[0]])
    structures = {name: found.structures for name, found in labels.items()}
    tolerances = tolerances_by_structure(structures[baseline], request)
    tasks = tasks_of(lineup, scheme, labels, reader, tuple(tolerances.values()), request, dataset_json["file_ending"])
    lineup, measured = _measure(request, lineup, tasks)
    lineup, measured = _add_tables(lineup, measured, structures[baseline], request.metrics)
    return analyse(
        lineup,
        measured,
        structures,
        title=f"{request.title} {title.replace('{n}', str(len(lineup.cases)))}".lstrip(),
        baseline=baseline,
        settings=_record_of(request, tolerances, scheme.ignore_label),
        reader=reader,
        file_ending=dataset_json["file_ending"],
        notes=request.notes,
        images=request.images,
        seed=request.seed,
        across_prompts=request.across_prompts,
    )


def _record_of(request: CompareRequest, tolerances: Mapping[str, float], ignore_label: int | None) -> dict[str, Any]:
    """What the numbers depend on, for the captions and ``summary.json``."""
    return {
        "metrics": list(request.metrics.metrics),
        "definitions": request.metrics.definitions(),
        "nsd_tolerance_mm": tolerances,
        "ignore_label": ignore_label,
        "confidence": 1 - SIGNIFICANCE,
        "bootstrap_resamples": BOOTSTRAP_RESAMPLES,
        "permutations": PERMUTATIONS,
        "seed": request.seed,
        "nnunetv2_masam": __version__,
        "versions": library_versions(),
    }


def _measure(request: CompareRequest, lineup: LineUp, tasks: Sequence[MeasureTask]) -> tuple[LineUp, list[Measured]]:
    """Measure all tasks; returns the line-up without cases that could not be measured, with notes."""
    measured = measure_all(tasks, request.cache, request.processes, request.progress)
    errors = sorted({result.error for result in measured if result.error})
    if errors and not request.skip_bad:
        listing = "\n".join(f"  {error}" for error in errors)
        raise ValueError(f"cases that cannot be measured:\n{listing}\nCompare the other cases with --skip-bad.")
    if errors:
        lineup = lineup.without(sorted({result.case for result in measured if result.error}), "; ".join(errors))
        measured = [result for result in measured if result.case in lineup.cases]
    off = {result.case: result.note for result in measured if result.note}
    if off:
        note = (
            f"the header of {len(off)} of {len(lineup.cases)} references is slightly off, so these cases "
            f"({shortened(sorted(off))}) were measured by voxel index, as nnU-Net does. {off[min(off)]}"
        )
        lineup = replace(lineup, notes=(*lineup.notes, note))
    return lineup, measured


def _add_tables(
    lineup: LineUp, measured: list[Measured], structures: Sequence[Structure], settings: MetricSettings
) -> tuple[LineUp, list[Measured]]:
    """Add the values of models that another tool measured."""
    known = {(result.case, name): record for result in measured for name, record in result.values.items()}
    records, notes = records_measured_elsewhere(lineup, [part.name for part in structures], settings, known)
    values: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for (model, case, name), record in records.items():
        values.setdefault((model, case), {})[name] = record
    added = [Measured(model, case, found) for (model, case), found in values.items()]
    return replace(lineup, notes=(*lineup.notes, *notes)), [*measured, *added]
