"""``nnUNetv2_masam boxes``: box prompts for a dataset, for images to predict, or as markups to look at."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.subcommands import add_subcommands

# name: (module in this package, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "dataset": ("dataset", "Write a dataset anew with boxes around its references, for training"),
    "drawn": ("drawn", "Write images with boxes that a person drew, for prediction"),
    "oracle": ("oracle", "Write images with boxes around their references, for prediction"),
    "markups": ("markups", "Write the boxes around references as markups, for 3D Slicer"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each kind of output."""
    add_subcommands(parser, COMMANDS, __name__)
