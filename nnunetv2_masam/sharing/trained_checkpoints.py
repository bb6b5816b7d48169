"""The checkpoints that nnU-Net saves, read without running what is in them, and completed where they are slim."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnunetv2_masam.files import shortened
from nnunetv2_masam.weights.safe_read import checked_torch_load
from nnunetv2_masam.weights.slim import MARKER, base_of, complete_state_dict, find_base, is_slim, read_base
from nnunetv2_masam.weights.weight_files import CheckpointError, bad_file, reading

_AN_NNUNET_CHECKPOINT = "a checkpoint that nnU-Net saved (network_weights, trainer_name, …)"


def read_nnunet_checkpoint(path: Path) -> dict[str, Any]:
    """Read an nnU-Net checkpoint; besides tensors and plain containers only numpy's numbers are let in, no code.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is something else, is damaged or contains pickled code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    try:
        with reading(path), torch.serialization.safe_globals(_numpy_numbers()):
            checkpoint = checked_torch_load(path)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can raise anything while it is decoded
        got = f"a file that cannot be read as one ({(str(error).splitlines() or [''])[0][:200]})"
        raise bad_file(path, got, _AN_NNUNET_CHECKPOINT, "Nothing in it was executed.") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("network_weights"), dict):
        remedy = "For the authors' files there is nnUNetv2_masam import-masam, for SAM's MASAM_CHECKPOINT."
        raise bad_file(path, "a file without network_weights", _AN_NNUNET_CHECKPOINT, remedy)
    weights = checkpoint["network_weights"]
    if odd := [name for name, value in weights.items() if name != MARKER and not isinstance(value, Tensor)]:
        raise bad_file(path, f"network_weights that are no tensors ({shortened(odd)})", "tensors", "Copy it again.")
    return checkpoint


def completed_weights(checkpoint: dict[str, Any], sam: Path | None = None) -> dict[str, Tensor]:
    """An nnU-Net checkpoint's network weights, completed from the base if they are slim.

    Args:
        sam: the base; None looks for it as prediction does.
    """
    weights = checkpoint["network_weights"]
    if not is_slim(weights):
        return weights
    return complete_state_dict(weights, read_base(sam or find_base(base_of(weights))))


def _numpy_numbers() -> list[Any]:
    """What numpy's scalars are pickled as; the module that makes them has another name in numpy 1 than in 2."""
    make_scalar = np.float64(0).__reduce__()[0]

    def scalar(*args: Any) -> Any:
        return make_scalar(*args)

    named = []
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        alias = FunctionType(scalar.__code__, globals(), "scalar", None, scalar.__closure__)
        alias.__module__, alias.__qualname__ = module, "scalar"
        named.append(alias)
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    return [np.dtype, *(type(np.dtype(kind)) for kind in kinds), *named]
