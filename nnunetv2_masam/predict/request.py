"""What a prediction is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PredictRequest:
    """Images, a model and where segmentations go, with the meaning and the defaults of ``nnUNetv2_predict``.

    Attributes:
        images: folder of images, ``CASE_0000.nii.gz`` and so on.
        output: folder of the segmentations, ``CASE.nii.gz``; it is made if it is missing.
        model_folder: the folder that holds ``fold_0``; or else ``dataset`` and ``configuration``.
        dataset: ID or name of the dataset.
        configuration: such as ``3d_fullres``.
        plans: name of the plans.
        trainer: class name.
        folds: numbers, or ``all``; their logits are averaged.
        checkpoint: name of the file in each fold's folder.
        step_size: of the sliding window, as a fraction of the tile.
        mirroring: whether test-time augmentation by mirroring is on, for trainers that allow it.
        device: ``cuda``, ``cpu`` or ``mps``.
        on_device: whether logits stay on the GPU until they are labels.
        previous_stage: folder of the previous stage's segmentations, for a cascade.
        num_parts: of how many such predictions this is one; each takes its share of the cases.
        part_id: which one, from 0.
        continue_prediction: leave out the cases that are segmented already.
        preprocessing_threads: cases that are read and preprocessed at a time, ahead of the prediction.
        writing_threads: segmentations that are written at a time, behind the prediction.
    """

    images: Path
    output: Path
    model_folder: Path | None = None
    dataset: str | None = None
    configuration: str | None = None
    plans: str = "nnUNetPlans"
    trainer: str = "nnUNetTrainer"
    folds: Sequence[int | str] = (0, 1, 2, 3, 4)
    checkpoint: str = "checkpoint_final.pth"
    step_size: float = 0.5
    mirroring: bool = True
    device: str = "cuda"
    on_device: bool = True
    previous_stage: Path | None = None
    num_parts: int = 1
    part_id: int = 0
    continue_prediction: bool = False
    preprocessing_threads: int = 1
    writing_threads: int = 1
