"""``nnUNetv2_masam compare``: models case by case over the same cases and folds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_masam.cli.arguments import add_dataset, add_output_folder, group
from nnunetv2_masam.cli.options import add_options, request_from
from nnunetv2_masam.evaluation.metrics import DEFAULT_TOLERANCE_MM
from nnunetv2_masam.evaluation.request import CompareCrossValidation, CompareRequest, CompareTestSet, ModelSource
from nnunetv2_masam.options import read_number

if TYPE_CHECKING:
    from nnunetv2_masam.evaluation.comparison import Comparison

EPILOG = """\
Models are given as trainer__plans__configuration (or just the trainer, where that is unambiguous) and looked
up in nnUNet_results, as folders, or as a CSV file with the values of another tool; LABEL=model sets the name in
the tables. LABEL=model,model are trainings of one model. trainer@k3 means the folds with three training cases that
few-shot has appended.

  nnUNetv2_masam compare -d 4 nnUNetTrainer nnUNetTrainerMASAM -o comparison
  nnUNetv2_masam compare -d 4 "U-Net=nnUNetTrainer" "MA-SAM=nnUNetTrainerMASAM" --folds 0 1
  nnUNetv2_masam compare --predictions A=predA B=predB --references labelsTs --dataset-json dataset.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``compare``: those of a cross-validation, and what a request has in another form."""
    parser.epilog = EPILOG
    add = group(parser, "input").add_argument
    add("models", nargs="*", metavar="MODEL", help="Models to compare (default: every model with validation results)")
    add_dataset(parser, required=False)
    add(
        "--predictions",
        nargs="+",
        metavar="NAME=DIR",
        help="Folders with test set predictions, DICOM SEG too (or CSV files), instead of -d",
    )
    add_options(parser, CompareCrossValidation, leave_out=("dataset",))
    words: dict[str, Any] = {"nargs": "+", "default": []}
    add(
        "--oracle",
        metavar="NAME[=MM]",
        help="Models whose box prompts came from the reference, with that margin (default: detected)",
        **words,
    )
    add(
        "--seen",
        metavar="NAME",
        help="Models whose pretrained weights may have been trained on the cases; they are marked (default: none)",
        **words,
    )
    group(parser, "cases and labels").add_argument(
        "--prediction-labels",
        metavar="[NAME=]FILE",
        help="With --match-labels-by-name: dataset.json of what the model was trained on (default: the one beside its "
        "predictions)",
        **words,
    )
    group(parser, "metrics").add_argument(
        "--tolerance",
        metavar="MM",
        help="NSD tolerance in mm, also per label: --tolerance 2 pancreas=5 (default: 2)",
        **words,
    )
    group(parser, "statistics").add_argument(
        "--margin",
        metavar="METRIC=X",
        help="Largest difference that does not matter, such as Dice=0.01 HD95=1 (mm): adds equivalence, "
        "non-inferiority and the cases needed (default: none)",
        **words,
    )
    add_output_folder(parser, "Folder for tables, CSV, JSON and the HTML report (default: print only)", required=False)


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
    if args.predictions and (args.models or args.dataset is not None):
        raise ValueError(f"--predictions takes the folders; what is {args.dataset or args.models} for?")
    tolerances = _numbers("--tolerance", args.tolerance, "millimetres, or LABEL=millimetres", named=False)
    labels = map(ModelSource.parse, args.prediction_labels)
    more: dict[str, Any] = {
        "models": tuple(map(ModelSource.parse, args.predictions or args.models)),
        "prediction_labels": {label.name: Path(label.source) for label in labels},
        "oracles": _oracles(args.oracle),
        "tolerance_mm": tolerances.pop("", DEFAULT_TOLERANCE_MM),
        "tolerance_by_label_mm": tolerances,
        "margins": _margins(args.margin),
        "seen": tuple(args.seen),
    }
    if args.dataset is not None:
        return request_from(args, CompareCrossValidation, **more)
    if args.references is None or args.dataset_json is None or not more["models"]:
        raise ValueError(
            "a comparison needs a dataset (-d), or models with references and dataset_json "
            "(--predictions … --references DIR --dataset-json FILE)"
        )
    if args.folds is not None:
        raise ValueError(
            f"folds (--folds) are {args.folds}, but a test set has none. Leave them out, or name the dataset "
            "of a cross-validation (-d)."
        )
    return request_from(args, CompareTestSet, **more)


def _numbers(option: str, words: Sequence[str], expected: str, named: bool = True) -> dict[str, float]:
    """``NAME=number`` → number by name; a number alone has the name ""."""
    found = {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            found[name] = read_number(value)
        except ValueError:
            raise ValueError(f"{option} {word!r}: expected {expected}") from None
        if named and not name:
            raise ValueError(f"{option} {word!r}: expected {expected}")
    return found


def _margins(words: Sequence[str]) -> dict[str, float]:
    """Margins by the metric's name; its unit may be left out."""
    from nnunetv2_masam.evaluation.metrics import METRICS

    full = {name.removesuffix("_mm").lower(): name for name in METRICS} | {name.lower(): name for name in METRICS}
    found = _numbers("--margin", words, "METRIC=number, such as Dice=0.01")
    return {full.get(name.lower(), name): margin for name, margin in found.items()}


def _oracles(words: Sequence[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for word in words:
        name, _, margin = word.partition("=")
        try:
            found[name] = read_number(margin) if margin else None
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
