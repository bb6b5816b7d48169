"""Key names of EfficientSAM's checkpoints → names of the official SAM checkpoints.

EfficientSAM's image encoder is a plain ViT with SAM's names, except for the MLP and the position table, whose first
entry is that of a class token. Its decoder is another network than SAM's and is left out. Read off
``efficient_sam/efficient_sam_encoder.py`` of yformer/EfficientSAM.
"""

from __future__ import annotations

import math
import re

from torch import Tensor

from nnunetv2_masam.weights.state_dicts import NameTable

_ENCODER = "image_encoder."
_NAMES = {
    "blocks.{n}.mlp.fc1": "blocks.{n}.mlp.lin1",
    "blocks.{n}.mlp.fc2": "blocks.{n}.mlp.lin2",
}
_TABLE = NameTable({_ENCODER + theirs: _ENCODER + official for theirs, official in _NAMES.items()})
_MLP = re.compile(r"image_encoder\.blocks\.\d+\.mlp\.fc1\.weight")


def is_efficient_name(key: str) -> bool:
    """Whether only EfficientSAM's files have such a key."""
    return _MLP.fullmatch(key) is not None


def official_encoder(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The image encoder under SAM's names, its position table as (1, G, G, E)."""
    encoder = {key: tensor for key, tensor in state_dict.items() if key.startswith(_ENCODER)}
    renamed = {_TABLE.official(key) or key: tensor for key, tensor in encoder.items()}
    table = renamed.get(_ENCODER + "pos_embed")
    if table is not None and table.ndim == 3:
        grid = table[:, 1:]  # without the class token's
        side = math.isqrt(grid.shape[1])
        if side and grid.shape[1] == side * side:
            renamed[_ENCODER + "pos_embed"] = grid.unflatten(1, (side, -1))
    return renamed
