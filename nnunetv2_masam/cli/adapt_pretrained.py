"""``nnUNetv2_masam adapt-pretrained``: fit a checkpoint to a dataset, for ``nnUNetv2_train -pretrained_weights``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunetv2_masam.cli.arguments import add_dataset, group

EPILOG = """\
  nnUNetv2_masam adapt-pretrained checkpoint_final.pth -d 4 -o fitted.pth
  nnUNetv2_train 4 3d_fullres 0 -tr nnUNetTrainerMASAM -pretrained_weights fitted.pth
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Dataset, configuration, trainer and plans as for the training that follows."""
    parser.epilog = EPILOG
    add = group(parser, "input").add_argument
    add("checkpoint", type=Path, metavar="FILE", help="Checkpoint of a MA-SAM trainer")
    add_dataset(parser, "Number or name of the dataset to train on")
    add = group(parser, "training that follows").add_argument
    add("-c", "--configuration", default="3d_fullres", metavar="NAME", help="Configuration (default: %(default)s)")
    add("-tr", "--trainer", default="nnUNetTrainerMASAM", metavar="TRAINER", help="Trainer (default: %(default)s)")
    add("-p", "--plans", default="nnUNetPlans", metavar="NAME", help="Plans (default: %(default)s)")
    add = group(parser, "output").add_argument
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="Checkpoint to write")
    add("--overwrite", action="store_true", help="Replace the checkpoint if it exists")


def run(args: argparse.Namespace) -> int:
    """Fit, and print what was resized and what starts anew."""
    from nnunetv2_masam.sharing.pretrained import AdaptRequest, adapt_pretrained

    adapted = adapt_pretrained(
        AdaptRequest(
            args.checkpoint,
            args.output,
            args.dataset,
            configuration=args.configuration,
            trainer=args.trainer,
            plans=args.plans,
            overwrite=args.overwrite,
        )
    )
    print(adapted.report)
    train = f"nnUNetv2_train {adapted.dataset} {args.configuration} FOLD -tr {args.trainer} -p {args.plans}"
    print(f"train with: {train} -pretrained_weights {adapted.path}")
    return 0
