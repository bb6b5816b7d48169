"""``nnUNetv2_masam convert btcv``: abdominal CT of the Beyond the Cranial Vault challenge."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.convert.volumes import add_processes, report
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.datasets.requests import BtcvRequest

REQUEST = BtcvRequest
EPILOG = """\
SRC is the folder with RawData/Training/img/img0001.nii.gz and RawData/Training/label/label0001.nii.gz, as the
challenge distributes it. Test images (RawData/Testing/img) go to imagesTs.

  nnUNetv2_masam convert btcv Abdomen -d 17 --paper --paper-split
"""


add_arguments = add_processes


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was found and written."""
    from nnunetv2_masam.datasets.convert import convert_btcv

    return report(convert_btcv(request_from(args, REQUEST)))
