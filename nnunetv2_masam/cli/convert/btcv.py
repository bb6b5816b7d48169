"""``nnUNetv2_masam convert btcv``: abdominal CT of the Beyond the Cranial Vault challenge."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.convert import common

EPILOG = """\
SRC is the folder with RawData/Training/img/img0001.nii.gz and RawData/Training/label/label0001.nii.gz, as the
challenge distributes it. Test images (RawData/Testing/img) go to imagesTs.

  nnUNetv2_masam convert btcv Abdomen -d 17 --paper --paper-split
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert btcv``."""
    common.add_arguments(parser, EPILOG)
    parser.add_argument(
        "--paper", action="store_true", help="merge the adrenal glands into one label, as the MA-SAM authors do"
    )
    parser.add_argument(
        "--paper-split", action="store_true", help="append the authors' split as a fold: 0035 to 0040 for validation"
    )


def run(args: argparse.Namespace) -> int:
    """Find, check, convert, report; append the fold that is asked for."""
    from nnunetv2_masam.datasets import btcv

    volumes = btcv.find_volumes(args.source, partial=args.partial)
    spec = btcv.spec(merge_adrenal_glands=args.paper)
    rule = btcv.rule(merge_adrenal_glands=args.paper, copy_geometry=args.copy_geometry)
    return common.convert(args, volumes, spec, rule, ["btcv-paper"] if args.paper_split else [])
