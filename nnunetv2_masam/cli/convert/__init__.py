"""``nnUNetv2_masam convert``: public data sets, and folders of video frames, to nnU-Net's raw layout.

One module per kind of data set, with ``add_arguments(parser)`` and ``run(args) -> int`` as for the subcommands.
"""

from __future__ import annotations

import argparse
import importlib

# name: (module in this package, one line of help)
CONVERTERS: dict[str, tuple[str, str]] = {
    "btcv": ("btcv", "BTCV: abdominal CT, 13 organs"),
    "prostate6": ("prostate6", "prostate MRI from six sites"),
    "endovis18": ("endovis18", "EndoVis 2018 robotic scene segmentation, time as the slice axis"),
    "video": ("video", "a folder of video frames and masks, time as the slice axis"),
    "frames": ("frames", "frames of new videos, to be predicted"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand per kind of data set."""
    subparsers = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name, (module_name, summary) in CONVERTERS.items():
        module = importlib.import_module(f"{__name__}.{module_name}")
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        module.add_arguments(subparser)
        subparser.set_defaults(convert=module.run)


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was found."""
    return int(args.convert(args))
