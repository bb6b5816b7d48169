"""``nnUNetv2_masam convert prostate6``: prostate MRI from six sites."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.arguments import group
from nnunetv2_masam.cli.convert import volumes

EPILOG = """\
SRC is the folder with BIDMC, BMC, HK, I2CVB, RUNMC and UCL, each with Case00.nii.gz and Case00_segmentation.nii.gz.
Cases are called SITE_0000, so that the site can be told from the name.

  nnUNetv2_masam convert prostate6 Processed_data_nii -d 18 --paper-split --folds-by-site
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert prostate6``."""
    volumes.add_arguments(parser, EPILOG)
    add = group(parser, "further folds").add_argument
    add(
        "--paper-split",
        action="store_true",
        help="Append the MA-SAM authors' split as folds: all sites together, and each site alone",
    )
    add("--folds-by-site", action="store_true", help="Append six folds that each validate on one site, unseen")


def run(args: argparse.Namespace) -> int:
    """Convert, and print what was found and written."""
    from nnunetv2_masam.datasets.convert import convert_prostate6

    wanted = {"prostate6-paper": args.paper_split, "prostate6-by-site": args.folds_by_site}
    request = volumes.request_of(args, [name for name, asked in wanted.items() if asked])
    return volumes.report(convert_prostate6(request))
