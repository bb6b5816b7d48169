"""Tell nnU-Net the folder of our trainers when Python starts.

Python up to 3.14 calls :func:`register` through the ``import`` line of ``nnunetv2_masam.pth``; Python 3.15 and newer
call it through ``nnunetv2_masam.start`` (PEP 829) and skip that line.

Every interpreter of the environment pays for this file, so it uses ``os`` and ``sys`` alone, which Python has loaded
by then. ``nnunetv2_masam.catalogue.trainers_folder`` finds the same folder once the package itself is imported.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "nnUNet_extTrainer"
PACKAGE = "nnunetv2_masam"
A_TRAINER = "nnUNetTrainerMASAM.py"


def trainers_folder() -> str | None:
    """Folder of the trainers that belong to the package Python would import, or None if there is none."""
    for entry in sys.path:
        root = _absolute(entry)
        if root is None:
            continue
        package = os.path.join(root, PACKAGE)
        if not os.path.isfile(os.path.join(package, "__init__.py")):
            continue
        # installed: inside the package; editable: beside it, in the checkout
        for folder in (os.path.join(package, "trainers"), os.path.join(os.path.dirname(package), "trainers")):
            if os.path.isfile(os.path.join(folder, A_TRAINER)):
                return folder
        return None
    return None


def extended(value: str, folder: str) -> str:
    """``value`` of the variable with ``folder``, an absolute path, at its end, unless it is in it already."""
    entries = [_absolute(entry) for entry in value.split(os.pathsep) if entry.strip()]
    if os.path.normcase(folder) in [os.path.normcase(entry) for entry in entries if entry is not None]:
        return value
    return value + os.pathsep + folder if value.strip() else folder


def _absolute(path: str) -> str | None:
    """``path`` from the root, or None if it is relative and the working directory has been removed."""
    try:
        return os.path.abspath(path)
    except OSError:
        return None


def register() -> None:
    """Set the variable for this process and those it starts; what the user put into it stays first.

    A working directory that has been removed is no error, which every Python of the environment would print when it
    starts there: relative entries are then left out of the search.
    """
    folder = trainers_folder()
    if folder is not None:
        os.environ[VARIABLE] = extended(os.environ.get(VARIABLE, ""), folder)
