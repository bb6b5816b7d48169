"""The comparison from start to end: find the models, line them up, measure, collect; and write all files.

from nnunetv2_masam.evaluation.compare import CompareRequest, ModelSource, compare_models, write_comparison

request = CompareRequest(dataset="4", models=(ModelSource("nnUNetTrainer"), ModelSource("nnUNetTrainerMASAM")))
comparison = compare_models(request)
print(comparison.summaries["nnUNetTrainerMASAM"]["Anterior"]["Dice"].mean)
write_comparison(comparison, Path("comparison"))
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.paths import nnUNet_preprocessed

from nnunetv2_masam import __version__
from nnunetv2_masam.evaluation import outputs, report, results
from nnunetv2_masam.evaluation.case_tables import read_groups, read_measured_elsewhere, records_measured_elsewhere
from nnunetv2_masam.evaluation.comparison import Comparison, collect
from nnunetv2_masam.evaluation.labels import (
    LabelScheme,
    ModelLabels,
    Structure,
    check_labels,
    match_by_name,
    read_dataset_json,
    read_label_map,
    read_label_scheme,
    same_labels,
)
from nnunetv2_masam.evaluation.lineup import LineUp, line_up
from nnunetv2_masam.evaluation.measure import Measured, Task, measure_all
from nnunetv2_masam.evaluation.metrics import MetricSettings, library_versions
from nnunetv2_masam.evaluation.prompted import oracle_prompts
from nnunetv2_masam.evaluation.request import CompareRequest, ModelSource
from nnunetv2_masam.evaluation.segmentation import find_reader
from nnunetv2_masam.evaluation.statistics import BOOTSTRAP_RESAMPLES, SIGNIFICANCE
from nnunetv2_masam.files import list_folder, read_json, shortened
from nnunetv2_masam.folds.few_shot import fold_map, read_few_shot_folds

__all__ = ["CompareRequest", "ModelSource", "check_output", "compare_models", "write_comparison"]

# the few-shot folds of a model: "trainer@k3", or "trainer@k3s1" for seed 1
FEW_SHOT = re.compile(r"@k\d+(?:s\d+)?$")


def compare_models(request: CompareRequest) -> Comparison:
    """Measure all models over the same cases and compare them.

    Raises:
        ValueError: with everything that does not line up or cannot be measured, by file or option.
    """
    return _compare_dataset(request, request.dataset) if request.dataset is not None else _compare_test_set(request)


def write_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Write the tables, ``cases.csv``, ``summary.json`` and ``report.html``; returns the names of the files."""
    check_output(folder)
    folder.mkdir(parents=True, exist_ok=True)
    outputs.write_cases_csv(comparison, folder / "cases.csv")
    outputs.write_markdown(comparison, folder / "table.md")
    outputs.write_latex(comparison, folder / "table.tex")
    outputs.write_summary_json(comparison, folder / "summary.json")
    report.write_report(comparison, folder / "report.html", comparison.images)
    return sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def check_output(folder: Path) -> None:
    """Refuse what can be no output folder, before anything is measured."""
    for path in (folder, *folder.absolute().parents):
        if path.exists() or path.is_symlink():
            if not path.is_dir():
                raise ValueError(f"{path}: is a file, expected a folder for the output (-o). Choose another name.")
            return


def _compare_dataset(request: CompareRequest, specified: str) -> Comparison:
    dataset = results.dataset_name(specified)
    splits = results.find_splits(dataset, request.folds)
    if splits is not None and (unknown := sorted(set(request.folds or ()) - set(splits))):
        raise ValueError(f"--folds {unknown}: the cross-validation has the folds {sorted(splits)}")
    chosen: list[tuple[str | None, Path, str]] = []
    for model in request.models:
        few_shot = FEW_SHOT.search(model.source)
        source = model.source if few_shot is None else model.source[: few_shot.start()]
        path = Path(source) if _is_table(source) else results.find_model_folder(source, dataset)
        chosen.append((model.name, path, few_shot[0] if few_shot else ""))
    chosen = chosen or [(None, folder, "") for folder in results.find_all_model_folders(dataset)]
    found = _name_models(chosen)
    folders = [path for path, _ in found.values() if path.is_dir()]
    dataset_json = read_dataset_json(request.dataset_json or results.find_dataset_json(dataset, folders))
    models = [
        _read_model(name, path, dataset_json["file_ending"], _folds(dataset, few_shot, splits, request.folds))
        for name, (path, few_shot) in found.items()
    ]
    references = results.find_references(dataset, request.references)
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
    dataset_json = read_dataset_json(request.dataset_json)
    found = _name_models([(model.name, Path(model.source), "") for model in request.models])
    models = [_read_model(name, path, dataset_json["file_ending"], None) for name, (path, _) in found.items()]
    name = dataset_json.get("name", request.references.resolve().parent.name)
    lineup = _line_up(request, models, request.references, dataset_json, None)
    return _compare(request, lineup, dataset_json, None, f"{name}: {{n}} test cases")


def _is_table(source: str) -> bool:
    return source.lower().endswith(".csv")


def _read_model(name: str, path: Path, file_ending: str, folds: Mapping[int, int] | None) -> results.Model:
    if _is_table(path.name):
        return read_measured_elsewhere(name, path)
    return results.read_model(name, path, file_ending, folds)


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
    labels, notes = _labels(request, models, scheme, dataset_json)
    lineup = replace(lineup, models=tuple(models), notes=(*lineup.notes, *notes))
    reader = find_reader(dataset_json, plans, lineup.references[lineup.cases[0]])
    structures = {name: found.structures for name, found in labels.items()}
    tolerances = _tolerances(structures[baseline], request)
    images = _Images(request.images, dataset_json["file_ending"])
    tasks = _tasks(lineup, scheme, labels, reader, tuple(tolerances.values()), request.metrics, images)
    lineup, measured = _measure(request, lineup, tasks)
    lineup, measured = _add_tables(lineup, measured, structures[baseline], request.metrics)
    settings = {
        "metrics": list(request.metrics.metrics),
        "definitions": request.metrics.definitions(),
        "nsd_tolerance_mm": tolerances,
        "ignore_label": scheme.ignore_label,
        "confidence": 1 - SIGNIFICANCE,
        "bootstrap_resamples": BOOTSTRAP_RESAMPLES,
        "seed": request.seed,
        "nnunetv2_masam": __version__,
        "versions": library_versions(),
    }
    return collect(
        lineup,
        measured,
        structures,
        title=title.replace("{n}", str(len(lineup.cases))),
        baseline=baseline,
        settings=settings,
        reader=reader,
        file_ending=dataset_json["file_ending"],
        images=request.images,
        seed=request.seed,
        across_prompts=request.across_prompts,
    )


def _labels(
    request: CompareRequest,
    models: Sequence[results.Model],
    scheme: LabelScheme,
    dataset_json: dict[str, Any],
) -> tuple[dict[str, ModelLabels], list[str]]:
    """What each model's label values mean, and notes on labels that were merged or left out."""
    if not request.match_labels_by_name:
        for model in models:
            if model.dataset_json is not None and model.dataset_json["labels"] != dataset_json["labels"]:
                raise ValueError(
                    f"{model.folder}/dataset.json: its labels {model.dataset_json['labels']} "
                    f"are not those of the references ({dataset_json['labels']}). "
                    "Compare the labels they share with --match-labels-by-name."
                )
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


@dataclass(frozen=True)
class _Images:
    folder: Path | None
    file_ending: str

    def of(self, case: str) -> Path | None:
        """The first channel of a case, if it is there."""
        path = None if self.folder is None else self.folder / f"{case}_0000{self.file_ending}"
        return path if path is not None and path.is_file() else None


def _tasks(
    lineup: LineUp,
    scheme: LabelScheme,
    labels: Mapping[str, ModelLabels],
    reader: type[BaseReaderWriter],
    tolerances_mm: tuple[float, ...],
    settings: MetricSettings,
    images: _Images,
) -> list[Task]:
    ignored = frozenset() if scheme.ignore_label is None else frozenset({scheme.ignore_label})
    return [
        Task(
            model=model.name,
            case=case,
            reference=lineup.references[case],
            prediction=model.cases[case].path,
            image=images.of(case),
            reader=reader,
            structures=labels[model.name].structures,
            tolerances_mm=tolerances_mm,
            ignore_label=scheme.ignore_label,
            reference_values=scheme.defined_values | ignored,
            prediction_values=labels[model.name].prediction_values,
            settings=settings,
        )
        for model in lineup.models
        if model.measured_elsewhere is None
        for case in lineup.cases
    ]


def _measure(request: CompareRequest, lineup: LineUp, tasks: Sequence[Task]) -> tuple[LineUp, list[Measured]]:
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


def _tolerances(structures: Sequence[Structure], request: CompareRequest) -> dict[str, float]:
    by_label = request.tolerance_by_label_mm
    unknown = set(by_label) - {structure.name for structure in structures}
    if unknown:
        known = ", ".join(structure.name for structure in structures)
        raise ValueError(f"--tolerance of unknown labels {sorted(unknown)}; the labels are: {known}")
    return {structure.name: by_label.get(structure.name, request.tolerance_mm) for structure in structures}


def _name_models(found: Sequence[tuple[str | None, Path, str]]) -> dict[str, tuple[Path, str]]:
    """Names for the tables: the label, else the folder's name, or only the trainer if the rest is shared."""
    named: dict[str, tuple[Path, str]] = {}
    parts = [folder.resolve().name.split("__") for label, folder, _ in found if label is None]
    shared = all(len(part) == 3 and part[1:] == parts[0][1:] for part in parts)
    for label, path, few_shot in found:
        folder_name = path.stem if _is_table(path.name) else path.resolve().name
        name = label or (folder_name.split("__")[0] if shared else folder_name) + few_shot
        if name in named:
            raise ValueError(f"two models are called {name!r} ({named[name][0]}, {path}): name them with LABEL=folder")
        for other, (other_path, other_few_shot) in named.items():
            if (other_path.resolve(), other_few_shot) == (path.resolve(), few_shot) and not _is_table(path.name):
                raise ValueError(f"{other} and {name} are the same model, {path}: name different folders")
        named[name] = (path, few_shot)
    return named


def _folds(
    dataset: str, few_shot: str, splits: Mapping[int, Sequence[str]] | None, asked: Sequence[int] | None
) -> dict[int, int] | None:
    """Which ``fold_k`` of a model to read, and as which fold of the cross-validation."""
    if few_shot:
        k, _, seed = few_shot.removeprefix("@k").partition("s")
        there = read_few_shot_folds(Path(str(nnUNet_preprocessed)) / dataset)
        mapped = fold_map(there, int(k), int(seed) if seed else None)
        return {fold: base for fold, base in mapped.items() if asked is None or base in asked}
    known = asked if asked is not None else splits
    return None if known is None else {fold: fold for fold in known}
