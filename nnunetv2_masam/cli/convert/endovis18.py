"""``nnUNetv2_masam convert endovis18``: the challenge's sequences as an nnU-Net data set."""

from __future__ import annotations

import argparse

from nnunetv2_masam.cli.convert.video import add_dataset_arguments, convert
from nnunetv2_masam.datasets.endovis18 import CLASSES, LAYOUT, find_endovis18

EPILOG = f"""\
expected layout, as the challenge published it:

{LAYOUT}
Training sequences become imagesTr and labelsTr with folds by sequence, the released test sequences imagesTs and
labelsTs. Labels of any size will do, as long as a sequence's frames and labels have one. Frames without a label are
left out, as in the MA-SAM authors' preparation, whose test set are the four released test sequences.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``convert endovis18``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add_dataset_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was left out and written."""
    sequences, notes = find_endovis18(args.source)
    for note in notes:
        print(note)
    return convert(args, "EndoVis18", sequences, CLASSES, reference="https://arxiv.org/abs/2001.11190")
