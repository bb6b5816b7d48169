"""``nnUNetv2_masam convert btcv`` and ``convert prostate6``: published datasets of volumes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunetv2_masam.cli.folds import print_folds
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.cli.parser import Command
from nnunetv2_masam.datasets.requests import BtcvRequest, Prostate6Request

if TYPE_CHECKING:
    from nnunetv2_masam.datasets.convert import ConvertedDataset


def btcv(args: argparse.Namespace) -> int:
    """Convert, and print what was found and written."""
    from nnunetv2_masam.datasets.convert import convert_btcv

    return _report(convert_btcv(request_from(args, BtcvRequest)))


def prostate6(args: argparse.Namespace) -> int:
    """Convert, and print what was found and written."""
    from nnunetv2_masam.datasets.convert import convert_prostate6

    return _report(convert_prostate6(request_from(args, Prostate6Request)))


def _report(converted: ConvertedDataset) -> int:
    from nnunetv2_masam.datasets.raw_dataset import describe
    from nnunetv2_masam.nnunet_files import dataset_number

    print(describe(converted.dataset))
    if converted.folds is not None:
        print_folds(converted.folds)
    number = dataset_number(converted.dataset.folder.name)
    print(f"next: nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity")
    return 0


CONVERT = {
    "btcv": Command(
        "Convert BTCV: abdominal CT, 13 organs",
        btcv,
        BtcvRequest,
        """\
SRC is the folder with RawData/Training/img/img0001.nii.gz and RawData/Training/label/label0001.nii.gz, as the
challenge distributes it. Test images (RawData/Testing/img) go to imagesTs.

  nnUNetv2_masam convert btcv Abdomen -d 17 --paper --paper-split
""",
    ),
    "prostate6": Command(
        "Convert prostate MRI from six sites",
        prostate6,
        Prostate6Request,
        """\
SRC is the folder with BIDMC, BMC, HK, I2CVB, RUNMC and UCL, each with Case00.nii.gz and Case00_segmentation.nii.gz.
Cases are called SITE_0000, so that the site can be told from the name.

  nnUNetv2_masam convert prostate6 Processed_data_nii -d 18 --paper-split --folds-by-site
""",
    ),
}
