"""``nnUNetv2_masam convert``: public datasets, and folders of video frames, to nnU-Net's raw layout."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.subcommands import add_subcommands

# name: (module in this package, one line of help)
CONVERTERS: dict[str, tuple[str, str]] = {
    "btcv": ("btcv", "Convert BTCV: abdominal CT, 13 organs"),
    "prostate6": ("prostate6", "Convert prostate MRI from six sites"),
    "endovis18": ("endovis18", "Convert EndoVis 2018, robotic scene segmentation, time as the slice axis"),
    "video": ("video", "Convert a folder of video frames and masks, time as the slice axis"),
    "frames": ("new_videos", "Convert frames of new videos to inputs of nnUNetv2_predict"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand per kind of dataset."""
    add_subcommands(parser, CONVERTERS, __name__)
