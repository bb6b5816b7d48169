"""``nnUNetv2_masam compare``: models case by case over the same cases and folds."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """\
Models are given as trainer__plans__configuration (or just the trainer, where that is unambiguous) and looked
up in nnUNet_results, or as folders; LABEL=model sets the name in the tables. trainer@k3 means the folds with
three training cases that few-shot has appended.

  nnUNetv2_masam compare -d 4 nnUNetTrainer nnUNetTrainerMASAM -o comparison
  nnUNetv2_masam compare -d 4 "U-Net=nnUNetTrainer" "MA-SAM=nnUNetTrainerMASAM" --folds 0 1
  nnUNetv2_masam compare --predictions A=predA B=predB --references labelsTs --dataset-json dataset.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``compare``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="models; all of the data set that have validation results")
    add("-d", "--dataset", metavar="ID", help="data set, as an ID or name")
    add("-o", "--output", type=Path, metavar="DIR", help="folder for tables, CSV, JSON and the HTML report")
    add("--predictions", nargs="+", metavar="NAME=DIR", help="folders of test set predictions, instead of -d")
    add(
        "--references",
        type=Path,
        metavar="DIR",
        help="reference segmentations (with -d: nnU-Net's copy of them)",
    )
    add("--dataset-json", type=Path, metavar="FILE", help="dataset.json of the references")
    add("--images", type=Path, metavar="DIR", help="images (case_0000), for the report (with -d: imagesTr)")
    add("--baseline", metavar="NAME", help="model that the others are compared with (default: the first)")
    add("--folds", nargs="+", type=int, metavar="K", help="only these folds (default: all)")
    add("--common", action="store_true", help="cut to the cases that all models share, instead of refusing")
    add("--match-labels-by-name", action="store_true", help="compare labels that models and references share")
    add(
        "--label-map",
        type=Path,
        metavar="FILE",
        help='synonyms and merges: {"name": ["synonym", ["a", "b"]]}',
    )
    add(
        "--prediction-labels",
        nargs="+",
        metavar="[NAME=]FILE",
        help="dataset.json that says what the predictions' labels mean (default: the one beside them)",
    )
    add("--skip-bad", action="store_true", help="leave out cases that cannot be measured, instead of refusing")
    add(
        "--tolerance",
        nargs="+",
        default=[],
        metavar="MM",
        help="NSD tolerance in mm (default 2), also per label: --tolerance 2 pancreas=5",
    )
    add(
        "--oracle",
        nargs="+",
        default=[],
        metavar="NAME[=MM]",
        help="models whose box prompts came from the reference, with that margin (default: found by itself)",
    )
    add("--across-prompts", action="store_true", help="also test differences between models with and without prompts")
    add("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where measured values are remembered (default: the cache folder)",
    )
    add("--no-cache", action="store_true", help="measure everything anew")
    add(
        "-np",
        "--processes",
        type=int,
        metavar="N",
        help="processes (default: nnU-Net's, at most one per core)",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, print the tables and write the output folder."""
    from nnunetv2_masam.evaluation import command

    comparison = command.compare_from_arguments(args)
    command.present(comparison, args.output, command.find_images(args))
    return 0
