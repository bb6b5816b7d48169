"""The named trainers, to import and derive from: ``from nnunetv2_masam.trainers import nnUNetTrainerMASAM``.

Their modules lie where nnU-Net looks trainers up (see :mod:`nnunetv2_masam.catalogue`), which is not the same place in
a checkout and in an installed package; importing them from here works in both. A class is imported when it is asked
for, by the module name that nnU-Net uses.
"""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from typing import Any

from nnunetv2_masam.catalogue import class_names, trainers_folder


def __getattr__(name: str) -> type[Any]:
    module = _modules().get(name)
    if module is None:
        names = ", ".join(_modules())
        raise AttributeError(f"there is no trainer {name!r} in {trainers_folder()}, which has {names}. Check the name")
    folder = str(trainers_folder())
    sys.path.insert(0, folder)  # the modules import each other
    try:
        return getattr(importlib.import_module(module), name)
    finally:
        sys.path.remove(folder)


def __dir__() -> list[str]:
    return sorted(_modules())


@lru_cache(maxsize=1)
def _modules() -> dict[str, str]:
    return class_names(trainers_folder())
