"""Options of ``few-shot`` and ``fixed-folds``. ``--help`` imports this module, so it needs no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from nnunetv2_masam.options import option

# name of a published split: what it is
PUBLISHED_SPLITS = {
    "btcv-paper": "the MA-SAM authors' 24 and 6 cases of BTCV",
    "prostate6-paper": "their split of the six-site prostate data: one fold over all sites, one for each site",
    "prostate6-by-site": "train on five prostate sites, validate on the sixth: six folds",
    "msd-pancreas-paper": "their five splits of the Medical Segmentation Decathlon's pancreas",
}


@dataclass(frozen=True)
class FewShotRequest:
    """Which folds with few training cases to append."""

    dataset: str = option(
        "-d", "--dataset", help="Number or name of the dataset; must be preprocessed", group="input", metavar="ID"
    )
    ks: tuple[int, ...] = option(
        "-k", "--training-cases", help="Numbers of training cases", group="folds", metavar="K", at_least=1
    )
    base_folds: tuple[int, ...] | None = option(
        "--folds", default=None, group="folds", metavar="F", at_least=0,
        help="Folds of the cross-validation, or fixed folds (default: all of the cross-validation)",
    )  # fmt: skip
    seed: int = option(help="Seed of the choice of cases", default=0, group="folds", metavar="N", at_least=0)


@dataclass(frozen=True)
class FixedFoldsRequest:
    """A published split to append to a dataset's folds."""

    dataset: str = option("-d", "--dataset", help="Number or name of the dataset", group="input", metavar="ID")
    split: str = option(
        "split", help=f"One of {', '.join(PUBLISHED_SPLITS)}", group="folds", metavar="SPLIT",
        choices=tuple(PUBLISHED_SPLITS),
    )  # fmt: skip
