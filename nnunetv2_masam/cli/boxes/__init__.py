"""``nnUNetv2_masam boxes``: box prompts for a dataset, for images to predict, or as markups to look at."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.subcommands import add_subcommands

# name: (module in this package, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "dataset": ("for_dataset", "Write a dataset anew with boxes around its references, for training"),
    "images": ("for_images", "Write images with boxes, for prediction"),
    "markups": ("for_slicer", "Write the boxes around references as markups, for 3D Slicer"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each kind of output."""
    add_subcommands(parser, COMMANDS, __name__)


def rewrite(words: list[str]) -> list[str]:
    """Read ``boxes -d …`` and ``boxes -i …`` as ``boxes dataset -d …`` and ``boxes images -i …``."""
    if not words or not words[0].startswith("-"):
        return words
    for name, options in (("dataset", {"-d", "--dataset"}), ("images", {"-i", "--images"})):
        if options & set(words):
            return [name, *words]
    return words
