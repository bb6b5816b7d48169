"""DICOM series to nnU-Net's images, and segmentations to DICOM SEG and back (``pip install nnunetv2-masam[dicom]``).

Affines are 4 × 4, in mm and DICOM's LPS, for indices in the order (slice, row, column) of arrays (D, H, W).
"""

from __future__ import annotations

import importlib
from typing import Any

SEG_ENDING = ".dcm"


def dicom_module(name: str) -> Any:
    """Module ``name`` of pydicom or highdicom, which are optional dependencies and imported when they are needed.

    Raises:
        ModuleNotFoundError: it cannot be imported; the message has the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        remedy = 'pip install "nnunetv2-masam[dicom]"'
        raise ModuleNotFoundError(f"DICOM needs pydicom and highdicom ({error}): {remedy}") from error
