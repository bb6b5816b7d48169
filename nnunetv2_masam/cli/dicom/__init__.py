"""``nnUNetv2_masam dicom``: from a scanner's folder to DICOM SEG."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.subcommands import add_subcommands

# name: (module in this package, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "import": ("import_series", "Write an image for each DICOM series, for prediction"),
    "seg": ("seg", "Write predictions as DICOM SEG that refer to their series"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each direction."""
    add_subcommands(parser, COMMANDS, __name__)
