"""MONAI's modules, imported when a network is built: MONAI is an optional dependency."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch


def monai_module(name: str, needed_by: str) -> ModuleType:
    """Module ``name`` of MONAI, such as ``monai.networks.nets``.

    Args:
        name: full name of the module.
        needed_by: what needs it, for the message.

    Raises:
        ModuleNotFoundError: MONAI cannot be imported; the message has the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{needed_by} needs MONAI, which cannot be imported ({error}): "
            f'pip install "nnunetv2-masam[monai]" torch=={torch.__version__} (naming torch keeps pip from replacing it)'
        ) from error
