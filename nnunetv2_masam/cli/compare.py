"""``nnUNetv2_masam compare``: models case by case over the same cases and folds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_masam.cli.arguments import (
    add_dataset,
    add_output_folder,
    group,
    positive_int,
    positive_number,
    whole_number,
)

if TYPE_CHECKING:
    from nnunetv2_masam.evaluation.comparison import Comparison
    from nnunetv2_masam.evaluation.request import CompareRequest

EPILOG = """\
Models are given as trainer__plans__configuration (or just the trainer, where that is unambiguous) and looked
up in nnUNet_results, as folders, or as a CSV file with the values of another tool; LABEL=model sets the name in
the tables. trainer@k3 means the folds with three training cases that few-shot has appended.

  nnUNetv2_masam compare -d 4 nnUNetTrainer nnUNetTrainerMASAM -o comparison
  nnUNetv2_masam compare -d 4 "U-Net=nnUNetTrainer" "MA-SAM=nnUNetTrainerMASAM" --folds 0 1
  nnUNetv2_masam compare --predictions A=predA B=predB --references labelsTs --dataset-json dataset.json
"""
# the choices of --metrics and --*-surface, spelled out so that --help needs no import
OPTIONAL = ("sensitivity", "precision", "volume_error", "boundary_iou", "lesions")
SURFACES = ("voxels", "mesh")
# arguments that are fields of the request by the same name
_AS_GIVEN = ("references", "dataset_json", "images", "groups", "baseline", "common", "skip_bad", "match_labels_by_name")
_AS_GIVEN += ("label_map", "across_prompts", "seed", "processes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``compare``."""
    parser.epilog = EPILOG
    _add_input(group(parser, "input"))
    _add_cases(group(parser, "cases and labels"))
    _add_metrics(group(parser, "metrics"))
    add = group(parser, "statistics").add_argument
    add("--baseline", metavar="NAME", help="Model that the others are compared with (default: the first)")
    add("--seed", type=whole_number, default=0, metavar="N", help="Seed of the statistics (default: %(default)s)")
    add(
        "--across-prompts",
        action="store_true",
        help="Also test differences between models with and without box prompts",
    )
    help_text = "Folder for tables, CSV, JSON and the HTML report (default: print only)"
    add_output_folder(parser, help_text, required=False)
    speed = group(parser, "speed")
    cache = speed.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="Where measured values are remembered (default: metrics in the cache folder)",
    )
    cache.add_argument("--no-cache", action="store_true", help="Measure everything anew, and remember nothing")
    speed.add_argument(
        "-np",
        "--processes",
        type=positive_int,
        metavar="N",
        help="Number of processes (default: nnU-Net's, at most one per core)",
    )


def _add_input(arguments: argparse._ArgumentGroup) -> None:
    add = arguments.add_argument
    add(
        "models",
        nargs="*",
        metavar="MODEL",
        help="Models to compare (default: every model with validation results)",
    )
    add_dataset(arguments, required=False)
    add(
        "--predictions",
        nargs="+",
        metavar="NAME=DIR",
        help="Folders with test set predictions (or CSV files), instead of -d",
    )
    add(
        "--references",
        type=Path,
        metavar="DIR",
        help="Folder with reference segmentations (default with -d: nnU-Net's copy)",
    )
    add(
        "--dataset-json",
        type=Path,
        metavar="FILE",
        help="dataset.json of the references (default with -d: a model's)",
    )
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help="Folder with the images, case_0000 and so on: for the report, and to tell which header is off where "
        "a prediction and its reference differ (default with -d: imagesTr)",
    )
    add("--groups", type=Path, metavar="FILE", help="CSV file with the columns case and group, such as the site")
    add(
        "--oracle",
        nargs="+",
        default=[],
        metavar="NAME[=MM]",
        help="Models whose box prompts came from the reference, with that margin (default: found by itself)",
    )


def _add_cases(arguments: argparse._ArgumentGroup) -> None:
    add = arguments.add_argument
    add("--folds", nargs="+", type=whole_number, metavar="F", help="Only these folds (default: all)")
    add("--common", action="store_true", help="Cut to the cases that all models share, instead of refusing")
    add("--skip-bad", action="store_true", help="Leave out cases that cannot be measured, instead of refusing")
    add("--match-labels-by-name", action="store_true", help="Compare the labels that models and references share")
    add(
        "--label-map",
        type=Path,
        metavar="FILE",
        help='With --match-labels-by-name: JSON file of synonyms and merges, {"name": ["synonym", ["a", "b"]]}',
    )
    add(
        "--prediction-labels",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE",
        help="With --match-labels-by-name: dataset.json of what the model was trained on (default: the one beside its "
        "predictions)",
    )


def _add_metrics(arguments: argparse._ArgumentGroup) -> None:
    add = arguments.add_argument
    add(
        "--tolerance",
        nargs="+",
        default=[],
        metavar="MM",
        help="NSD tolerance in mm, also per label: --tolerance 2 pancreas=5 (default: 2)",
    )
    add(
        "--metrics",
        nargs="+",
        default=[],
        choices=OPTIONAL,
        metavar="NAME",
        help=f"Further metrics, of: {', '.join(OPTIONAL)} (default: none)",
    )
    add(
        "--distance-surface",
        choices=SURFACES,
        default="voxels",
        help="Surface of HD95 and ASSD: border voxels, or the area-weighted mesh of NSD (default: %(default)s)",
    )
    add(
        "--nsd-surface",
        choices=SURFACES,
        default="mesh",
        help="Surface of NSD: area-weighted mesh, or border voxels (default: %(default)s)",
    )
    add(
        "--lesion-iou",
        type=positive_number,
        default=0.1,
        metavar="X",
        help="With --metrics lesions: IoU from which a lesion counts as found (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, print the tables and write the output folder."""
    from nnunetv2_masam.evaluation.pipeline import check_output, compare_models

    request = read_request(args)
    if args.output is not None:
        check_output(args.output)
    show(compare_models(request), args.output)
    return 0


def read_request(args: argparse.Namespace) -> CompareRequest:
    """The request that the arguments spell."""
    from nnunetv2_masam.evaluation.metrics import MetricSettings
    from nnunetv2_masam.evaluation.request import CompareCrossValidation, CompareTestSet, ModelSource
    from nnunetv2_masam.files import cache_folder

    if args.predictions and (args.models or args.dataset is not None):
        raise ValueError(f"--predictions takes the folders; what is {args.dataset or args.models} for?")
    tolerance_mm, by_label = _tolerances(args.tolerance)
    labels = map(ModelSource.parse, args.prediction_labels)
    optional = tuple(dict.fromkeys(args.metrics))
    options: dict[str, Any] = {
        "models": tuple(map(ModelSource.parse, args.predictions or args.models)),
        "prediction_labels": {label.name: Path(label.source) for label in labels},
        "oracles": _oracles(args.oracle),
        "metrics": MetricSettings(optional, args.distance_surface, args.nsd_surface, args.lesion_iou),
        "tolerance_mm": tolerance_mm,
        "tolerance_by_label_mm": by_label,
        "cache": None if args.no_cache else args.cache or cache_folder() / "metrics",
    }
    options |= {name: getattr(args, name) for name in _AS_GIVEN}
    if args.dataset is not None:
        return CompareCrossValidation(dataset=args.dataset, folds=args.folds, **options)
    if args.references is None or args.dataset_json is None or not options["models"]:
        raise ValueError(
            "a comparison needs a dataset (-d), or models with references and dataset_json "
            "(--predictions … --references DIR --dataset-json FILE)"
        )
    if args.folds is not None:
        raise ValueError(
            f"folds (--folds) are {args.folds}, but a test set has none. Leave them out, or name the dataset "
            "of a cross-validation (-d)."
        )
    return CompareTestSet(**options)


def _tolerances(words: Sequence[str]) -> tuple[float, dict[str, float]]:
    from nnunetv2_masam.evaluation.metrics import DEFAULT_TOLERANCE_MM

    tolerance_mm, by_label = DEFAULT_TOLERANCE_MM, {}
    for word in words:
        label, _, value = word.rpartition("=")
        try:
            size = float(value)
        except ValueError:
            raise ValueError(f"--tolerance {word!r}: expected millimetres, or LABEL=millimetres") from None
        if label:
            by_label[label] = size
        else:
            tolerance_mm = size
    return tolerance_mm, by_label


def _oracles(words: Sequence[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for word in words:
        name, _, margin = word.partition("=")
        try:
            found[name] = float(margin) if margin else None
        except ValueError:
            raise ValueError(f"--oracle {word}: expected NAME or NAME=millimetres of margin") from None
    return found


def show(comparison: Comparison, output: Path | None) -> None:
    """Print the tables of a comparison, and write all files into the output folder if there is one."""
    from nnunetv2_masam.evaluation import report
    from nnunetv2_masam.evaluation.pipeline import write_comparison

    print(f"\n{report.terminal_text(comparison)}\n")
    if output is not None:
        print(f"written: {output}/ ({', '.join(write_comparison(comparison, output))})")
