"""Options of ``convert btcv`` and ``convert prostate6``. ``--help`` imports this module, so it needs no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.options import option

_PAPER, _FURTHER = "as in the MA-SAM paper", "further folds"


@dataclass(frozen=True)
class ConvertRequest:
    """A published dataset of volumes to convert."""

    source: Path = option("source", help="Folder with the data as published", group="input", metavar="SRC")
    dataset_id: int = option(
        "-d", "--dataset-id", help="Free number for the new dataset", group="output", metavar="ID", at_least=1
    )
    partial: bool = option(help="Convert what is there where the dataset is incomplete", default=False, group="input")
    copy_geometry: bool = option(
        help="Give a label file the spacing, origin and direction of its image where they differ", default=False,
        group="input",
    )  # fmt: skip

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the published splits whose folds are appended."""
        return ()


@dataclass(frozen=True)
class BtcvRequest(ConvertRequest):
    """BTCV to convert."""

    merge_adrenal_glands: bool = option(
        "--paper", help="Merge the adrenal glands into one label", default=False, group=_PAPER
    )
    paper_split: bool = option(
        help="Append the authors' split as a fold: 0035 to 0040 for validation", default=False, group=_PAPER
    )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the published splits whose folds are appended."""
        return ("btcv-paper",) * self.paper_split


@dataclass(frozen=True)
class Prostate6Request(ConvertRequest):
    """The prostate MRI from six sites to convert."""

    paper_split: bool = option(
        help="Append the MA-SAM authors' split as folds: all sites together, and each site alone", default=False,
        group=_FURTHER,
    )  # fmt: skip
    folds_by_site: bool = option(
        help="Append six folds that each validate on one site, unseen", default=False, group=_FURTHER
    )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the published splits whose folds are appended."""
        return ("prostate6-paper",) * self.paper_split + ("prostate6-by-site",) * self.folds_by_site
