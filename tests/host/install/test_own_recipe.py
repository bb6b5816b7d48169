"""The recipe that docs/models.md shows, in a folder of the user's, whichever way the package is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Environment

PAGE = Path(__file__).resolve().parents[3] / "docs" / "models.md"

LOOKUP = """
import contextlib, io
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
for name in ("nnUNetTrainerMASAM_ultrasound", "nnUNetTrainerMASAM_box_tiny", "nnUNetTrainerMASAM_ultrasound"):
    with contextlib.redirect_stdout(io.StringIO()):
        found = recursive_find_trainer_class_by_name(name)
    print(name, found.__mro__[1].__name__, found.epochs, found.rules.slices, found.rules.vit)
"""
WRONG_NAME = """
try:
    from nnunetv2_masam.trainers import nnUNetTrainerMASAN
except ImportError as error:
    print(error)
"""


def test_the_documented_recipe(installed: Environment, tmp_path: Path) -> None:
    (recipe,) = re.findall(r"```python\n(.*?from nnunetv2_masam\.trainers import.*?)```", PAGE.read_text("utf-8"), re.S)
    (tmp_path / "nnUNetTrainerMASAM_ultrasound.py").write_text(recipe, "utf-8")
    assert installed.python(LOOKUP, nnUNet_extTrainer=str(tmp_path)).splitlines() == [
        "nnUNetTrainerMASAM_ultrasound nnUNetTrainerMASAM 80 7 vit_b",
        "nnUNetTrainerMASAM_box_tiny MASAMBoxTrainer 50 5 vit_t",
        "nnUNetTrainerMASAM_ultrasound nnUNetTrainerMASAM 80 7 vit_b",
    ]
    assert "cannot import name 'nnUNetTrainerMASAN'" in installed.python(WRONG_NAME)
