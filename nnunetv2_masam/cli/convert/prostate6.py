"""``nnUNetv2_masam convert prostate6``: prostate MRI from six sites."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.convert import common

EPILOG = """\
SRC is the folder with BIDMC, BMC, HK, I2CVB, RUNMC and UCL, each with Case00.nii.gz and Case00_segmentation.nii.gz.
Cases are called SITE_0000, so that the site can be told from the name.

  nnUNetv2_masam convert prostate6 Processed_data_nii -d 18 --paper-split --folds-by-site
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert prostate6``."""
    common.add_arguments(parser, EPILOG)
    parser.add_argument(
        "--paper-split",
        action="store_true",
        help="append the MA-SAM authors' split as folds: all sites together, and each site alone",
    )
    parser.add_argument(
        "--folds-by-site", action="store_true", help="append six folds that each validate on one site, unseen"
    )


def run(args: argparse.Namespace) -> int:
    """Find, check, convert, report; append the folds that are asked for."""
    from nnunetv2_masam.datasets import prostate6

    wanted = {"prostate6-paper": args.paper_split, "prostate6-by-site": args.folds_by_site}
    volumes = prostate6.find_volumes(args.source, partial=args.partial)
    rule = prostate6.rule(copy_geometry=args.copy_geometry)
    return common.convert(args, volumes, prostate6.SPEC, rule, [name for name, asked in wanted.items() if asked])
