"""Options of the commands on models. ``--help`` imports this module, so it needs neither torch nor nnU-Net."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.options import option
from nnunetv2_masam.sharing.authors_tasks import TASKS

_MODEL_FOLDER = "Model folder (plans.json, dataset.json, fold_*)"
_LOOKED_FOR = "(default: looked for in MASAM_CHECKPOINT, the cache and installed packages)"


@dataclass(frozen=True)
class SlimRequest:
    """A model folder to write with slim checkpoints."""

    folder: Path = option("folder", help=_MODEL_FOLDER, group="input")
    output: Path = option("-o", "--output", help="New folder to write", group="output", metavar="DIR")
    sam: Path | None = option(
        help=f"SAM file that the model was trained from {_LOOKED_FOR}", default=None, group="input", metavar="FILE"
    )


@dataclass(frozen=True)
class MergeRequest:
    """A model folder to write with whole checkpoints."""

    folder: Path = option("folder", help=_MODEL_FOLDER, group="input")
    output: Path = option("-o", "--output", help="New folder to write", group="output", metavar="DIR")
    sam: Path | None = option(
        help=f"SAM file that slim checkpoints need {_LOOKED_FOR}", default=None, group="input", metavar="FILE"
    )
    fold: bool = option(
        help="Add FacT's or LoRA's increments to the query and value weights; the result cannot be trained on",
        default=False,
        group="output",
    )


@dataclass(frozen=True)
class AdaptRequest:
    """A checkpoint, and the training that is to start from it."""

    checkpoint: Path = option("checkpoint", help="Checkpoint of a MA-SAM trainer", group="input", metavar="FILE")
    output: Path = option("-o", "--output", help="Checkpoint to write", group="output", metavar="FILE")
    dataset: str = option(
        "-d", "--dataset", help="Number or name of the dataset to train on", group="input", metavar="ID"
    )
    configuration: str = option(
        "-c", "--configuration", help="Configuration", default="3d_fullres", group="training that follows",
        metavar="NAME",
    )  # fmt: skip
    trainer: str = option(
        "-tr", "--trainer", help="Trainer", default="nnUNetTrainerMASAM", group="training that follows",
        metavar="TRAINER",
    )  # fmt: skip
    plans: str = option(
        "-p", "--plans", help="Plans", default="nnUNetPlans", group="training that follows", metavar="NAME"
    )
    overwrite: bool = option(help="Replace the checkpoint if it exists", default=False, group="output")


@dataclass(frozen=True)
class ImportRequest:
    """A model of the MA-SAM authors' code to import, and the settings that no file holds."""

    adapt: Path = option(help="The authors' epoch_N.pth", group="input", metavar="FILE")
    sam: Path = option(help="SAM file that it was trained from", group="input", metavar="FILE")
    dataset_json: Path = option(help="dataset.json of the nnU-Net dataset", group="input", metavar="FILE")
    task: str = option(
        help=f"Dataset whose preparation to follow: {', '.join(sorted(TASKS))}", group="input", metavar="TASK",
        choices=tuple(sorted(TASKS)),
    )  # fmt: skip
    output: Path = option("-o", "--output", help="New model folder to write", group="output", metavar="DIR")
    image_size: tuple[int, int] = option(
        help="Network input in pixels", default=(512, 512), group="the authors' settings", metavar="S", at_least=1
    )
    in_plane: tuple[int, int] | None = option(
        help="Rows and columns of the images (default: those of the task)", default=None,
        group="the authors' settings", metavar="N", at_least=1,
    )  # fmt: skip
    window: tuple[float, float] | None = option(
        help="Intensities that become 0 and 1 (default: those of the task)", default=None,
        group="the authors' settings", metavar="I",
    )  # fmt: skip
    scale: float = option(
        help="FacT scale of the training", default=1.0, group="the authors' settings", metavar="S", above=0
    )
