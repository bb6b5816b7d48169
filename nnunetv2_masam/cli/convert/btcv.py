"""``nnUNetv2_masam convert btcv``: abdominal CT of the Beyond the Cranial Vault challenge."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.arguments import group
from nnunetv2_masam.cli.convert import volumes

EPILOG = """\
SRC is the folder with RawData/Training/img/img0001.nii.gz and RawData/Training/label/label0001.nii.gz, as the
challenge distributes it. Test images (RawData/Testing/img) go to imagesTs.

  nnUNetv2_masam convert btcv Abdomen -d 17 --paper --paper-split
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert btcv``."""
    volumes.add_arguments(parser, EPILOG)
    add = group(parser, "as in the MA-SAM paper").add_argument
    add("--paper", action="store_true", help="Merge the adrenal glands into one label")
    add("--paper-split", action="store_true", help="Append the authors' split as a fold: 0035 to 0040 for validation")


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was found and written."""
    from nnunetv2_masam.datasets.convert import convert_btcv

    request = volumes.request_of(args, ["btcv-paper"] if args.paper_split else [])
    return volumes.report(convert_btcv(request, merge_adrenal_glands=args.paper))
