"""``nnUNetTrainerMASAM_tiny``, short enough for a demonstration on a CPU."""

from __future__ import annotations

from typing import Any

from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from nnunetv2_masam.catalogue import trainers_folder

_FOLDER = str(trainers_folder())
# loose modules of two folders cannot import each other, so the class is looked up as nnU-Net looks it up
_tiny: Any = recursive_find_python_class(_FOLDER, "nnUNetTrainerMASAM_tiny", None, base_folder=_FOLDER)


class nnUNetTrainerDemoMASAM(_tiny):
    """The tiny recipe for 250 steps; its learning rate decays over these."""

    epochs = 10
    steps_per_epoch = 25
    validation_steps_per_epoch = 3
    warmup_steps = 25
