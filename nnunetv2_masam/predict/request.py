"""Options of a prediction, with the names and meanings of ``nnUNetv2_predict``'s."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunetv2_masam.options import option

DEVICES = ("cuda", "cpu", "mps")


@dataclass(frozen=True)
class ModelOptions:
    """A trained model, and how it is run: a model folder, or the dataset and configuration that it was trained for."""

    folder: Path | None = option(
        "-m", "--model-folder", help="Folder that holds fold_0, instead of -d -c -tr -p", default=None, group="input",
        metavar="DIR",
    )  # fmt: skip
    dataset: str | None = option(
        "-d", "--dataset", help="Number or name of the dataset", default=None, group="input", metavar="ID"
    )
    configuration: str | None = option(
        "-c", "--configuration", help="Configuration, such as 3d_fullres", default=None, group="input", metavar="NAME"
    )
    plans: str = option("-p", "--plans", help="Plans", default="nnUNetPlans", group="input", metavar="PLANS")
    trainer: str = option("-tr", "--trainer", help="Trainer", default="nnUNetTrainer", group="input", metavar="TRAINER")
    folds: tuple[str, ...] = option(
        "-f", "--folds", help="Folds whose logits are averaged; all is the model of all cases",
        default=("0", "1", "2", "3", "4"), group="input", metavar="F",
    )  # fmt: skip
    checkpoint: str = option(
        "-chk", "--checkpoint", help="Checkpoint of each fold", default="checkpoint_final.pth", group="input",
        metavar="FILE",
    )  # fmt: skip
    step_size: float = option(
        "-step_size", "--step-size", help="Step of the sliding window, as a fraction of the tile", default=0.5,
        group="speed", metavar="X", above=0,
    )  # fmt: skip
    mirroring: bool = option(
        "--disable_tta", "--disable-tta", help="No mirroring at test time; faster", default=True, group="speed"
    )
    device: str = option(
        "-device", "--device", help="cuda, cpu or mps", default="cuda", group="speed", metavar="DEVICE", choices=DEVICES
    )
    on_device: bool = option(
        "--not_on_device", "--not-on-device", default=True, group="speed",
        help="Keep logits in the host's memory; otherwise only where the GPU's is too small",
    )  # fmt: skip


@dataclass(frozen=True)
class PredictRequest:
    """A folder of images, a model, and the folder of the segmentations."""

    model: ModelOptions
    images: Path = option(
        "-i", "--images", help="Folder of images, CASE_0000.nii.gz and so on", group="input", metavar="DIR"
    )
    output: Path = option("-o", "--output", help="Folder of the segmentations", group="output", metavar="DIR")
    previous_stage: Path | None = option(
        "-prev_stage_predictions", "--previous-stage", default=None, group="input", metavar="DIR",
        help="Segmentations of the previous stage, for the second stage of a cascade",
    )  # fmt: skip
    continue_prediction: bool = option(
        "--continue_prediction", "--continue-prediction", help="Leave out cases that are segmented already",
        default=False, group="output",
    )  # fmt: skip
    num_parts: int = option(
        "-num_parts", "--num-parts", help="Number of commands that share the cases", default=1, group="speed",
        metavar="N", at_least=1,
    )  # fmt: skip
    part_id: int = option(
        "-part_id", "--part-id", help="Which of these commands this is, from 0", default=0, group="speed", metavar="N",
        at_least=0,
    )  # fmt: skip
    preprocessing_threads: int = option(
        "-npp", "--preprocessing-threads", help="Cases to read and preprocess at a time, each of them in memory",
        default=1, group="speed", metavar="N", at_least=1,
    )  # fmt: skip
    writing_threads: int = option(
        "-nps", "--writing-threads", help="Segmentations to write at a time", default=1, group="speed", metavar="N",
        at_least=1,
    )  # fmt: skip
