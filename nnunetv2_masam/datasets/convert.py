"""Convert a published dataset of volumes, and append published folds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunetv2_masam.datasets import btcv, prostate6
from nnunetv2_masam.datasets.raw_dataset import DatasetSpec, RawDataset, write_dataset
from nnunetv2_masam.datasets.requests import BtcvRequest, ConvertRequest, Prostate6Request
from nnunetv2_masam.datasets.volumes import LabelRule, Volume
from nnunetv2_masam.folds.fixed import append_fixed_folds, check_fixed_folds
from nnunetv2_masam.folds.paper_splits import SPLITS, PublishedFolds
from nnunetv2_masam.nnunet_files import folder_of, new_dataset


@dataclass(frozen=True)
class ConvertedDataset:
    """What was written.

    Attributes:
        folds: the folds that were appended, if any were asked for.
    """

    dataset: RawDataset
    folds: PublishedFolds | None


def convert_btcv(request: BtcvRequest) -> ConvertedDataset:
    """Convert BTCV, with both adrenal glands as one label where they are merged.

    Raises:
        ValueError: the layout, a file or the number is not as expected; nothing is written then.
    """
    volumes = btcv.find_volumes(request.source, partial=request.partial)
    rule = btcv.rule(merge_adrenal_glands=request.merge_adrenal_glands, copy_geometry=request.copy_geometry)
    return _convert(request, volumes, btcv.spec(merge_adrenal_glands=request.merge_adrenal_glands), rule)


def convert_prostate6(request: Prostate6Request) -> ConvertedDataset:
    """Convert the prostate MRI from six sites.

    Raises:
        ValueError: the layout, a file or the number is not as expected; nothing is written then.
    """
    volumes = prostate6.find_volumes(request.source, partial=request.partial)
    return _convert(request, volumes, prostate6.SPEC, prostate6.rule(copy_geometry=request.copy_geometry))


def _convert(
    request: ConvertRequest, volumes: Sequence[Volume], spec: DatasetSpec, rule: LabelRule
) -> ConvertedDataset:
    """Everything that can be refused without reading images is refused first."""
    folder = new_dataset(request.dataset_id, spec.name)
    cases = [volume.case for volume in volumes if volume.label is not None]
    folds = {name: split for kind in request.splits for name, split in SPLITS[kind](cases).items()}
    check_fixed_folds(cases, folds)
    preprocessed = folder_of("nnUNet_preprocessed") / folder.name if folds else None
    dataset = write_dataset(folder, spec, volumes, rule)
    if preprocessed is None:
        return ConvertedDataset(dataset, None)
    appended = append_fixed_folds(preprocessed, cases, folds)
    return ConvertedDataset(dataset, PublishedFolds(preprocessed, tuple(appended)))
