"""From what the user typed to a comparison, and from a comparison to files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from nnunetv2_masam.evaluation import results, tables
from nnunetv2_masam.evaluation.compare import Options, compare, find_reader
from nnunetv2_masam.evaluation.comparison import Comparison
from nnunetv2_masam.evaluation.labels import read_label_scheme
from nnunetv2_masam.evaluation.lineup import line_up
from nnunetv2_masam.evaluation.metrics import DEFAULT_TOLERANCE_MM


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
    found = _name_models(
        [(label, results.find_model_folder(model, dataset)) for label, model in _split(args.models)]
    )
    if not found:
        found = _name_models([(None, folder) for folder in results.find_all_model_folders(dataset)])
    dataset_json_path = args.dataset_json or results.find_dataset_json(dataset, list(found.values()))
    dataset_json = results.read_json(dataset_json_path)
    models = [
        results.read_model(name, folder, dataset_json["file_ending"], args.folds)
        for name, folder in found.items()
    ]
    _check_same_labels(models, dataset_json)
    references = results.find_references(dataset, args.references)
    lineup = line_up(
        models,
        references,
        dataset_json["file_ending"],
        splits=results.find_splits(dataset),
        folds=args.folds,
        common=args.common,
    )
    plans = next((model.plans for model in models if model.plans is not None), None)
    reader = find_reader(dataset_json, plans, lineup.references[lineup.cases[0]])
    title = f"{dataset}: {len(lineup.cases)} cases of the cross-validation"
    return compare(lineup, read_label_scheme(dataset_json, plans), reader, options, title=title)


def _compare_predictions(args: argparse.Namespace, options: Options) -> Comparison:
    if args.references is None or args.dataset_json is None:
        raise ValueError("--predictions needs --references DIR and --dataset-json FILE")
    dataset_json = results.read_json(args.dataset_json)
    found = _name_models([(label, Path(folder)) for label, folder in _split(args.predictions)])
    models = [results.read_model(name, folder, dataset_json["file_ending"]) for name, folder in found.items()]
    lineup = line_up(models, args.references, dataset_json["file_ending"], common=args.common)
    reader = find_reader(dataset_json, None, lineup.references[lineup.cases[0]])
    title = (
        f"{dataset_json.get('name', args.references.resolve().parent.name)}: {len(lineup.cases)} test cases"
    )
    return compare(lineup, read_label_scheme(dataset_json), reader, options, title=title)


def present(comparison: Comparison, output: Path | None) -> None:
    """Print the tables, and write all files into the output folder if there is one."""
    print(f"\n{comparison.title}\n")
    for note in comparison.notes:
        print(f"Note: {note}\n")
    print(tables.as_text(tables.quality_table(comparison)), end="\n\n")
    if comparison.differences:
        print(tables.as_text(tables.difference_table(comparison, ("Dice", "HD95_mm", "NSD"))), end="\n\n")
    for table in (tables.empty_table(comparison), tables.cost_table(comparison)):
        if table is not None:
            print(tables.as_text(table), end="\n\n")
    if output is None:
        return
    output.mkdir(parents=True, exist_ok=True)
    tables.write_cases_csv(comparison, output / "cases.csv")
    tables.write_markdown(comparison, output / "table.md")
    tables.write_latex(comparison, output / "table.tex")
    tables.write_summary_json(comparison, output / "summary.json")
    print(
        f"written: {output}/ ({', '.join(sorted(path.name for path in output.iterdir() if path.is_file()))})"
    )


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
    cache = None if args.no_cache else args.cache or _cache_folder()
    return Options(args.baseline, tolerance_mm, by_label, args.skip_bad, args.seed, cache, args.processes)


def _cache_folder() -> Path:
    base = (
        os.environ.get("MASAM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "nnunetv2_masam"
    )
    return Path(base).expanduser() / "metrics"


def _split(specifications: Sequence[str]) -> list[tuple[str | None, str]]:
    return [results.split_specification(specification) for specification in specifications]


def _name_models(found: Sequence[tuple[str | None, Path]]) -> dict[str, Path]:
    """Names for the tables: the label, else the folder's name, or only the trainer if the rest is shared."""
    named: dict[str, Path] = {}
    parts = [folder.resolve().name.split("__") for label, folder in found if label is None]
    shared = all(len(part) == 3 and part[1:] == parts[0][1:] for part in parts)
    for label, folder in found:
        folder_name = folder.resolve().name
        name = label or (folder_name.split("__")[0] if shared else folder_name)
        if name in named:
            raise ValueError(
                f"two models are called {name!r} ({named[name]}, {folder}): name them with LABEL=folder"
            )
        named[name] = folder
    return named


def _check_same_labels(models: Sequence[results.Model], dataset_json: dict[str, object]) -> None:
    for model in models:
        if model.dataset_json is not None and model.dataset_json["labels"] != dataset_json["labels"]:
            raise ValueError(
                f"{model.folder}/dataset.json: its labels {model.dataset_json['labels']} "
                f"are not those compared ({dataset_json['labels']})"
            )
