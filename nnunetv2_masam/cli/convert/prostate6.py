"""``nnUNetv2_masam convert prostate6``: prostate MRI from six sites."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.convert.volumes import add_processes, report
from nnunetv2_masam.cli.options import request_from
from nnunetv2_masam.datasets.requests import Prostate6Request

REQUEST = Prostate6Request
EPILOG = """\
SRC is the folder with BIDMC, BMC, HK, I2CVB, RUNMC and UCL, each with Case00.nii.gz and Case00_segmentation.nii.gz.
Cases are called SITE_0000, so that the site can be told from the name.

  nnUNetv2_masam convert prostate6 Processed_data_nii -d 18 --paper-split --folds-by-site
"""


add_arguments = add_processes


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was found and written."""
    from nnunetv2_masam.datasets.convert import convert_prostate6

    return report(convert_prostate6(request_from(args, REQUEST)))
