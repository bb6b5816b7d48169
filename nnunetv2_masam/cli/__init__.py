"""The command ``nnUNetv2_masam``: one module per subcommand.

A subcommand's module has ``add_arguments(parser)`` and ``run(args) -> int`` (the exit code) and is imported
only when it is the one called, so that ``nnUNetv2_masam trainers-path`` stays instant.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from nnunetv2_masam import __version__

# name: (module in this package, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("doctor", "check the installation and say how to mend it"),
    "trainers-path": ("trainers_path", "print the folder that nnU-Net looks our trainers up in"),
    "plan": ("plan", "write nnUNetMASAMPlans.json for a data set"),
    "convert": ("convert", "turn a public data set or video frames into an nnU-Net data set"),
    "boxes": ("boxes", "write box prompts as a further channel of a data set or of images for prediction"),
    "frames": ("frames", "write predictions of videos back as one mask per frame"),
    "video-scores": ("video_scores", "IoU and Dice of predicted videos, as surgical video is scored"),
    "weights": ("weights", "list and download SAM checkpoints"),
    "import-masam": ("import_masam", "turn a file saved by the MA-SAM authors' code into a model folder"),
    "slim": ("slim", "write a model folder without what the SAM file holds"),
    "merge": ("merge", "write a model folder that needs no SAM file, optionally with FacT or LoRA folded in"),
    "adapt-pretrained": (
        "adapt_pretrained",
        "fit a checkpoint to another data set for -pretrained_weights",
    ),
    "compare": ("compare", "compare models case by case over the same cases and folds"),
    "crossval": ("crossval", "train all folds of several trainers with stock commands, then compare"),
    "fixed-folds": ("fixed_folds", "append published splits to a data set's folds"),
    "few-shot": ("few_shot", "append folds with few training cases to a data set's splits"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``nnUNetv2_masam``; user errors end as one message on stderr and exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _print_anything()
    parser = argparse.ArgumentParser(prog="nnUNetv2_masam", description="MA-SAM inside nnU-Net.")
    parser.add_argument("--version", action="version", version=f"nnunetv2-masam {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, (module_name, summary) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(f"{__name__}.{module_name}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except (ValueError, FileNotFoundError, NotImplementedError) as error:
        print(f"nnUNetv2_masam {args.command}: {error}", file=sys.stderr)
        return 2


def _print_anything() -> None:
    """Let an output whose encoding lacks a character, such as ± in ASCII, take a question mark instead of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
