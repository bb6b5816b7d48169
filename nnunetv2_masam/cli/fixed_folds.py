"""``nnUNetv2_masam fixed-folds``: published splits as further folds of a data set."""

from __future__ import annotations

import argparse

SUMMARIES = {
    "btcv-paper": "the MA-SAM authors' 24 and 6 cases of BTCV",
    "prostate6-paper": "their split of the six-site prostate data: one fold over all sites, one for each site",
    "prostate6-by-site": "train on five prostate sites, validate on the sixth: six folds",
    "msd-pancreas-paper": "their five splits of the Medical Segmentation Decathlon's pancreas",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``fixed-folds``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(
        [
            "splits:",
            *(f"  {name:20s}{summary}" for name, summary in SUMMARIES.items()),
            "",
            "Folds are appended to splits_final.json, before or after preprocessing; no fold changes its number.",
            "",
            "  nnUNetv2_masam fixed-folds msd-pancreas-paper -d 7",
            "  nnUNetv2_train 7 3d_fullres 5 -tr nnUNetTrainerMASAM",
            "  nnUNetv2_masam compare -d 7 nnUNetTrainer nnUNetTrainerMASAM --folds 5",
        ]
    )
    parser.add_argument("split", choices=list(SUMMARIES), metavar="SPLIT", help=f"one of {', '.join(SUMMARIES)}")
    parser.add_argument("-d", "--dataset", required=True, metavar="ID", help="data set, as an ID or name")


def run(args: argparse.Namespace) -> int:
    """Append the folds and say which fold is which."""
    from nnunetv2_masam.cli.convert.common import preprocessed_folder, print_folds
    from nnunetv2_masam.datasets.paper_splits import SPLITS
    from nnunetv2_masam.datasets.splits import append_fixed_folds
    from nnunetv2_masam.evaluation import results
    from nnunetv2_masam.files import list_folder, read_json

    dataset = results.dataset_name(args.dataset)
    preprocessed = preprocessed_folder(dataset)
    ending = read_json(results.find_dataset_json(dataset, []))["file_ending"]
    files = list_folder(results.find_references(dataset))
    names = [path.name for path in files if path.name.endswith(ending) and not path.name.startswith(".")]
    cases = [name.removesuffix(ending) for name in names]
    print_folds(append_fixed_folds(preprocessed, cases, SPLITS[args.split](cases)), preprocessed)
    return 0
