"""The fixed splits of the MA-SAM paper, and the six prostate sites held out one after the other.

Source of the case numbers: the authors' ``preprocessing/dataset_split.md`` and, for MSD pancreas, the file of five
splits that it names. What they test on becomes the validation cases of a fold, so that ``nnUNetv2_train`` predicts
them at the end and ``nnUNetv2_masam compare --folds`` compares over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.files import read_json
from nnunetv2_masam.folds.fixed import FixedFold, append_fixed_folds
from nnunetv2_masam.folds.requests import FixedFoldsRequest
from nnunetv2_masam.nnunet_files import (
    dataset_name,
    find_dataset_json,
    preprocessed_dataset,
    read_dataset_json,
    training_labels,
)
from nnunetv2_masam.splits import SPLITS_FILE, Split, describe_overlap, read_splits

BTCV_TEST = ("0035", "0036", "0037", "0038", "0039", "0040")

# site: the authors' letter, number of cases in the collection, the authors' test cases
PROSTATE_SITES: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "RUNMC": ("A", 30, ("0003", "0008", "0012", "0015", "0018", "0026")),
    "BMC": ("B", 30, ("0003", "0008", "0012", "0015", "0018", "0026")),
    "I2CVB": ("C", 19, ("0003", "0008", "0013", "0015")),
    "UCL": ("D", 13, ("0001", "0032", "0034")),
    "BIDMC": ("E", 12, ("0000", "0004", "0009")),
    "HK": ("F", 12, ("0038", "0041", "0046")),
}

MSD_PANCREAS_FILE = Path(__file__).with_name("msd_pancreas_folds.json")


def btcv_paper(cases: Sequence[str]) -> dict[str, Split]:
    """One fold: 24 cases of BTCV for training, 0035 to 0040 for testing."""
    return {"btcv-paper": _hold_out(cases, {f"BTCV_{number}" for number in BTCV_TEST})}


def prostate6_paper(cases: Sequence[str]) -> dict[str, Split]:
    """One fold over all sites, and one for each site alone, each with that site's test cases."""
    test = {site: {f"{site}_{number}" for number in numbers} for site, (_, _, numbers) in PROSTATE_SITES.items()}
    folds = {"prostate6-paper": _hold_out(cases, set().union(*test.values()))}
    for site, held_out in test.items():
        folds[f"prostate6-paper-{site}"] = _hold_out([case for case in cases if site_of(case) == site], held_out)
    return folds


def prostate6_by_site(cases: Sequence[str]) -> dict[str, Split]:
    """Six folds: train on five sites, test on the sixth."""
    return {
        f"prostate6-without-{site}": _hold_out(cases, {case for case in cases if site_of(case) == site})
        for site in PROSTATE_SITES
    }


def msd_pancreas_paper(cases: Sequence[str]) -> dict[str, Split]:
    """The authors' five splits; the 28 cases that they select checkpoints on are left out of both parts."""
    content = read_json(MSD_PANCREAS_FILE, dict)
    folds: dict[str, Split] = {}
    for fold, (test, validation) in enumerate(zip(content["test"], content["validation"], strict=True)):
        unused = {f"pancreas_{number:03d}" for number in validation}
        kept = [case for case in cases if case not in unused]
        folds[f"msd-pancreas-paper-{fold}"] = _hold_out(kept, {f"pancreas_{number:03d}" for number in test})
    return folds


def site_of(case: str) -> str:
    """The site of a prostate case, ``RUNMC`` of ``RUNMC_0003``."""
    return case.rpartition("_")[0]


def _hold_out(cases: Sequence[str], test: set[str]) -> Split:
    return {"train": sorted(set(cases) - test), "val": sorted(test)}


# name on the command line: the folds for a dataset with these cases
SPLITS: dict[str, Callable[[Sequence[str]], dict[str, Split]]] = {
    "btcv-paper": btcv_paper,
    "prostate6-paper": prostate6_paper,
    "prostate6-by-site": prostate6_by_site,
    "msd-pancreas-paper": msd_pancreas_paper,
}


@dataclass(frozen=True)
class PublishedFolds:
    """Folds of a published split that a dataset has.

    Attributes:
        preprocessed: the dataset's folder, with ``splits_final.json``.
    """

    preprocessed: Path
    folds: tuple[FixedFold, ...]

    def overlap(self) -> str:
        """Name the folds of the dataset that validate on cases that they train on; "" if none does."""
        splits = read_splits(self.preprocessed / SPLITS_FILE)
        return describe_overlap(splits, range(len(splits)))


def append_published_folds(request: FixedFoldsRequest) -> PublishedFolds:
    """Append the folds of a published split to a dataset, unless they are there.

    Raises:
        ValueError: there is no such dataset or split, or the dataset lacks a case of it.
    """
    if request.split not in SPLITS:
        raise ValueError(f"split: got {request.split!r}, expected one of {', '.join(SPLITS)}")
    name = dataset_name(request.dataset)
    preprocessed = preprocessed_dataset(name)
    cases = list(training_labels(name, read_dataset_json(find_dataset_json(name))))
    return PublishedFolds(preprocessed, tuple(append_fixed_folds(preprocessed, cases, SPLITS[request.split](cases))))
