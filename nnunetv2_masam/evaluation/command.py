"""From what the user typed to a comparison, and from a comparison to files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_preprocessed

from nnunetv2_masam.evaluation import report, results
from nnunetv2_masam.evaluation.compare import Options, compare, find_reader
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.fewshot import fold_map, read_few_shot_folds
from nnunetv2_masam.evaluation.labels import match_by_name, read_label_map, read_label_scheme, same_labels
from nnunetv2_masam.evaluation.lineup import LineUp, line_up
from nnunetv2_masam.evaluation.metrics import DEFAULT_TOLERANCE_MM
from nnunetv2_masam.evaluation.prompted import read_oracles
from nnunetv2_masam.files import cache_folder, list_folder, read_json

# the few-shot folds of a model: "trainer@k3", or "trainer@k3s1" for seed 1
FEW_SHOT = re.compile(r"@k\d+(?:s\d+)?$")


def compare_from_arguments(args: argparse.Namespace) -> Comparison:
    """Find what the command line names, check that it lines up, and compare it."""
    options = _options(args)
    if args.predictions:
        return _compare_predictions(args, options)
    if args.dataset is None:
        raise ValueError("give a data set with -d, or folders with --predictions")
    return _compare_crossvalidation(args, options)


def _compare_crossvalidation(args: argparse.Namespace, options: Options) -> Comparison:
    dataset = results.dataset_name(args.dataset)
    splits = results.find_splits(dataset, args.folds)
    chosen: list[tuple[str | None, Path, str]] = []
    for label, specified in _split(args.models):
        few_shot = FEW_SHOT.search(specified)
        model = specified if few_shot is None else specified[: few_shot.start()]
        chosen.append((label, results.find_model_folder(model, dataset), few_shot[0] if few_shot else ""))
    chosen = chosen or [(None, folder, "") for folder in results.find_all_model_folders(dataset)]
    found = _name_models(chosen)
    path = args.dataset_json or results.find_dataset_json(dataset, [folder for folder, _ in found.values()])
    dataset_json = read_json(path)
    file_ending = dataset_json["file_ending"]
    models = [
        results.read_model(name, folder, file_ending, _folds(dataset, few_shot, splits, args.folds))
        for name, (folder, few_shot) in found.items()
    ]
    lineup = line_up(
        models,
        results.find_references(dataset, args.references),
        file_ending,
        splits=splits,
        folds=args.folds,
        common=args.common,
        same_labels=not args.match_labels_by_name,
    )
    plans = next((model.plans for model in models if model.plans is not None), None)
    where = "the cross-validation" if args.folds is None else f"fold {', '.join(map(str, args.folds))}"
    title = f"{dataset}: {{n}} cases of {where}"
    return _compare(args, options, lineup, dataset_json, plans, title)


def _compare_predictions(args: argparse.Namespace, options: Options) -> Comparison:
    if args.references is None or args.dataset_json is None:
        raise ValueError("--predictions needs --references DIR and --dataset-json FILE")
    if args.models:
        raise ValueError(f"--predictions takes the folders; what is {args.models} for?")
    dataset_json = read_json(args.dataset_json)
    file_ending = dataset_json["file_ending"]
    found = _name_models([(label, Path(folder), "") for label, folder in _split(args.predictions)])
    models = [results.read_model(name, folder, file_ending) for name, (folder, _) in found.items()]
    lineup = line_up(
        models,
        args.references,
        file_ending,
        common=args.common,
        same_labels=not args.match_labels_by_name,
    )
    name = dataset_json.get("name", args.references.resolve().parent.name)
    return _compare(args, options, lineup, dataset_json, None, f"{name}: {{n}} test cases")


def _compare(
    args: argparse.Namespace,
    options: Options,
    lineup: LineUp,
    dataset_json: dict[str, Any],
    plans: dict[str, Any] | None,
    title: str,
) -> Comparison:
    scheme = read_label_scheme(dataset_json, plans)
    for name, prompt in read_oracles(args.oracle, [model.name for model in lineup.models]).items():
        next(model for model in lineup.models if model.name == name).prompt = prompt
    if args.match_labels_by_name:
        label_map = None
        if args.label_map is not None:
            label_map = read_label_map(read_json(args.label_map), str(args.label_map))
        labels, notes = match_by_name(dataset_json, _prediction_labels(args, lineup.models), label_map)
        lineup = replace(lineup, notes=(*lineup.notes, *notes))
    else:
        _check_same_labels(lineup.models, dataset_json)
        labels = {model.name: same_labels(scheme) for model in lineup.models}
    reader = find_reader(dataset_json, plans, lineup.references[lineup.cases[0]])
    return compare(lineup, scheme, labels, reader, dataset_json["file_ending"], options, title)


def _prediction_labels(args: argparse.Namespace, models: Sequence[results.Model]) -> dict[str, dict[str, Any]]:
    """The ``dataset.json`` of what each model was trained on: as given, else beside its predictions."""
    given = {label: Path(path) for label, path in _split(args.prediction_labels or [])}
    found = {}
    for model in models:
        path = given.get(model.name, given.get(None))
        content = model.dataset_json if path is None else read_json(path)
        if content is None:
            raise ValueError(
                f"{model.folder}: no dataset.json says what its labels mean. "
                f"Give it with --prediction-labels {model.name}=dataset.json."
            )
        found[model.name] = content
    return found


def present(comparison: Comparison, output: Path | None, images: Path | None = None) -> None:
    """Print the tables, and write all files into the output folder if there is one."""
    print(f"\n{report.terminal_text(comparison)}\n")
    if output is not None:
        written = report.write_files(comparison, output, images)
        print(f"written: {output}/ ({', '.join(sorted(path.name for path in written))})")


def find_images(args: argparse.Namespace) -> Path | None:
    """The images for the report's overlays: the folder given, else the data set's."""
    if args.images is not None:
        list_folder(args.images)
        return Path(args.images)
    return None if args.dataset is None else results.find_images(results.dataset_name(args.dataset))


def _options(args: argparse.Namespace) -> Options:
    tolerance_mm, by_label = DEFAULT_TOLERANCE_MM, {}
    for word in args.tolerance:
        label, _, value = word.rpartition("=")
        try:
            size = float(value)
        except ValueError:
            raise ValueError(f"--tolerance {word!r}: expected millimetres, or LABEL=millimetres") from None
        if not size > 0:
            raise ValueError(f"--tolerance {word!r}: must be more than 0 mm")
        if label:
            by_label[label] = size
        else:
            tolerance_mm = size
    cache = None if args.no_cache else args.cache or cache_folder() / "metrics"
    return Options(
        args.baseline,
        tolerance_mm,
        by_label,
        args.skip_bad,
        args.seed,
        cache,
        args.processes,
        across_prompts=args.across_prompts,
    )


def _split(specifications: Sequence[str]) -> list[tuple[str | None, str]]:
    return [results.split_specification(specification) for specification in specifications]


def _name_models(found: Sequence[tuple[str | None, Path, str]]) -> dict[str, tuple[Path, str]]:
    """Names for the tables: the label, else the folder's name, or only the trainer if the rest is shared."""
    named: dict[str, tuple[Path, str]] = {}
    parts = [folder.resolve().name.split("__") for label, folder, _ in found if label is None]
    shared = all(len(part) == 3 and part[1:] == parts[0][1:] for part in parts)
    for label, folder, few_shot in found:
        folder_name = folder.resolve().name
        name = label or (folder_name.split("__")[0] if shared else folder_name) + few_shot
        if name in named:
            raise ValueError(
                f"two models are called {name!r} ({named[name][0]}, {folder}): name them with LABEL=folder"
            )
        named[name] = (folder, few_shot)
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


def _check_same_labels(models: Sequence[results.Model], dataset_json: dict[str, Any]) -> None:
    for model in models:
        if model.dataset_json is not None and model.dataset_json["labels"] != dataset_json["labels"]:
            raise ValueError(
                f"{model.folder}/dataset.json: its labels {model.dataset_json['labels']} "
                f"are not those of the references ({dataset_json['labels']}). "
                "Compare the labels they share with --match-labels-by-name."
            )
