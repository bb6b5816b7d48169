"""Options of ``crossval``. ``--help`` imports this module, so it needs neither torch nor nnU-Net."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.options import option

_WHAT = "what to train"


@dataclass(frozen=True)
class CrossvalRequest:
    """Options of a cross-validation: trainers, data, folds and machines."""

    dataset: str = option(
        "-d", "--dataset", help="Number or name of the preprocessed dataset", group="input", metavar="ID"
    )
    configuration: str = option(
        "-c", "--configuration", help="Configuration, such as 3d_fullres", group=_WHAT, metavar="NAME"
    )
    trainers: tuple[str, ...] = option(
        "-tr", "--trainers", help="Trainers; the first one is the baseline of the comparison", group=_WHAT,
        metavar="TRAINER",
    )  # fmt: skip
    plans: str = option("-p", "--plans", help="Plans", default="nnUNetPlans", group=_WHAT, metavar="NAME")
    folds: tuple[int, ...] | None = option(
        help="Folds to train (default: all of the cross-validation)", default=None, group=_WHAT, metavar="F",
        at_least=0,
    )  # fmt: skip
    pretrained_weights: Path | None = option(
        help="Checkpoint to fine-tune from", default=None, group=_WHAT, metavar="FILE"
    )
    device: str = option(
        help="cuda, cpu or mps, as in nnUNetv2_train", default="cuda", group="where to train", metavar="DEVICE",
        choices=("cuda", "cpu", "mps"),
    )  # fmt: skip
    output: Path | None = option(
        "-o", "--output", help="Folder for logs and comparison (default: crossval beside the models)", default=None,
        group="output", metavar="DIR",
    )  # fmt: skip
