"""The checkpoints that nnU-Net saves, completed where they are slim."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from nnunetv2_masam.files import shortened
from nnunetv2_masam.weights.safe_read import load_checkpoint
from nnunetv2_masam.weights.slim import MARKER, base_of, complete_state_dict, find_base, is_slim, read_base
from nnunetv2_masam.weights.weight_files import CheckpointError, bad_file

_EXPECTED = "a checkpoint that nnU-Net saved (network_weights, trainer_name, …)"


def is_nnunet_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint that nnU-Net saved. A file that cannot be read is none."""
    try:
        loaded = load_checkpoint(path, values=False)
    except CheckpointError:
        return False
    return isinstance(loaded, Mapping) and {"network_weights", "trainer_name"} <= loaded.keys()


def read_nnunet_checkpoint(path: Path, *, values: bool = True) -> dict[str, Any]:
    """Read an nnU-Net checkpoint.

    Args:
        values: see :func:`~nnunetv2_masam.weights.safe_read.load_checkpoint`.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is something else, is damaged or contains pickled code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    checkpoint = load_checkpoint(path, values=values)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("network_weights"), dict):
        remedy = "For the authors' files there is nnUNetv2_masam import-masam, for SAM's MASAM_CHECKPOINT."
        raise bad_file(path, "a file without network_weights", _EXPECTED, remedy)
    weights = checkpoint["network_weights"]
    if odd := [name for name, value in weights.items() if name != MARKER and not isinstance(value, Tensor)]:
        raise bad_file(path, f"network_weights that are no tensors ({shortened(odd)})", "tensors", "Copy it again.")
    return checkpoint


def completed_weights(checkpoint: dict[str, Any], sam: Path | None = None) -> dict[str, Tensor]:
    """An nnU-Net checkpoint's network weights, completed from the base if they are slim.

    Args:
        checkpoint: as read.
        sam: the base; None looks for it as prediction does.
    """
    weights = checkpoint["network_weights"]
    if not is_slim(weights):
        return weights
    return complete_state_dict(weights, read_base(sam or find_base(base_of(weights))))
