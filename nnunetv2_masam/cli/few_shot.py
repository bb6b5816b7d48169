"""``nnUNetv2_masam few-shot``: splits with few training cases, for stock ``nnUNetv2_train``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EPILOG = """\
Appends folds to splits_final.json, one per k and fold of the cross-validation; no fold changes its number.

  nnUNetv2_masam few-shot -d 4 -k 1 3 5
  nnUNetv2_train 4 3d_fullres 5 -tr nnUNetTrainerMASAM -pretrained_weights checkpoint_final.pth
  nnUNetv2_masam compare -d 4 "U-Net, 3 cases=nnUNetTrainer@k3" "MA-SAM, 3 cases=nnUNetTrainerMASAM@k3"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``few-shot``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "-d",
        "--dataset",
        required=True,
        metavar="ID",
        help="data set, as an ID or name; must be preprocessed",
    )
    add("-k", nargs="+", type=int, required=True, metavar="K", help="numbers of training cases")
    add("--folds", nargs="+", type=int, metavar="F", help="folds of the cross-validation (default: all)")
    add("--seed", type=int, default=0, help="of the choice of cases (default 0)")


def run(args: argparse.Namespace) -> int:
    """Write the splits and say which fold is which."""
    from nnunetv2.paths import nnUNet_preprocessed

    from nnunetv2_masam.datasets.splits import read_fixed_folds, read_or_make_splits
    from nnunetv2_masam.evaluation import fewshot, results
    from nnunetv2_masam.evaluation.labels import read_dataset_json

    dataset = results.dataset_name(args.dataset)
    if not nnUNet_preprocessed.is_set():
        raise ValueError("nnUNet_preprocessed is not set")
    preprocessed = Path(str(nnUNet_preprocessed)) / dataset
    dataset_json = read_dataset_json(results.find_dataset_json(dataset, []))
    labels_of_case = _labels_of_cases(dataset, dataset_json)
    splits = read_or_make_splits(preprocessed, list(labels_of_case))
    used = {case for split in splits for case in [*split["train"], *split["val"]]}
    if unknown := sorted(used - set(labels_of_case)):
        raise ValueError(f"splits_final.json names cases without a reference segmentation: {', '.join(unknown)}")
    existing = fewshot.read_few_shot_folds(preprocessed)
    fixed = {entry.fold for entry in read_fixed_folds(preprocessed)}
    splits, folds = fewshot.add_few_shot_folds(splits, existing, labels_of_case, args.k, args.folds, args.seed, fixed)
    fewshot.write_few_shot_folds(preprocessed, splits, folds)
    print("fold  k  validates as fold  training cases")
    for entry in folds:
        note = f"  (no case holds: {', '.join(entry.missing_labels)})" if entry.missing_labels else ""
        cases = ", ".join(splits[entry.fold]["train"])
        print(f"{entry.fold:4d} {entry.k:2d}  {entry.base_fold:17d}  {cases}{note}")
    print(f"\nwritten: {preprocessed / 'splits_final.json'}")
    print(f"train with: nnUNetv2_train {dataset[7:10]} CONFIGURATION FOLD -tr TRAINER -pretrained_weights FILE")
    return 0


def _labels_of_cases(dataset: str, dataset_json: dict[str, Any]) -> dict[str, frozenset[str]]:
    from tqdm import tqdm

    from nnunetv2_masam.evaluation import results
    from nnunetv2_masam.evaluation.labels import read_label_scheme
    from nnunetv2_masam.evaluation.segmentation import find_reader, mask_of, read_segmentation
    from nnunetv2_masam.files import list_folder

    ending = dataset_json["file_ending"]
    folder = results.find_references(dataset)
    files = [path for path in list_folder(folder) if path.name.endswith(ending)]
    if not files:
        raise ValueError(f"{folder}: no segmentations (*{ending})")
    reader = find_reader(dataset_json, None, files[0])
    structures = read_label_scheme(dataset_json).structures
    found = {}
    for path in tqdm(files, desc="reading labels", unit="case", disable=None):
        labels, _ = read_segmentation(path, reader)
        held = {part.name for part in structures if mask_of(labels, part.reference_values).any()}
        found[path.name.removesuffix(ending)] = frozenset(held)
    return found
