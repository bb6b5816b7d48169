"""The subcommands of ``nnUNetv2_masam``, in the order of the help text."""

from __future__ import annotations

from nnunetv2_masam.cli import (
    boxes,
    compare,
    crossval,
    dicom,
    doctor,
    folds,
    models,
    plan,
    predict,
    video,
    volumes,
    weights,
)
from nnunetv2_masam.cli.parser import Command

COMMANDS: dict[str, Command] = {
    "doctor": doctor.DOCTOR,
    "trainers-path": doctor.TRAINERS_PATH,
    "plan": plan.PLAN,
    "predict": predict.PREDICT,
    "convert": Command(
        "Convert a public dataset or video frames to an nnU-Net dataset", commands={**volumes.CONVERT, **video.CONVERT}
    ),
    "boxes": boxes.BOXES,
    "frames": video.FRAMES,
    "video-scores": video.SCORES,
    "dicom": dicom.DICOM,
    "weights": weights.WEIGHTS,
    **models.COMMANDS,
    "compare": compare.COMPARE,
    "crossval": crossval.CROSSVAL,
    "fixed-folds": folds.FIXED_FOLDS,
    "few-shot": folds.FEW_SHOT,
}
