"""``nnUNetv2_masam trainers-path``: for ``export nnUNet_extTrainer=$(nnUNetv2_masam trainers-path)``."""

from __future__ import annotations

import argparse

from nnunetv2_masam.catalogue import trainers_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the folder, alone on a line."""
    print(trainers_folder())
    return 0
