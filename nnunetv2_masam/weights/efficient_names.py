"""Key names of EfficientSAM's checkpoints → names of the official SAM checkpoints.

EfficientSAM's image encoder is a plain ViT with SAM's names, but for the MLP and the position table, which has a class
token's entry first. Its decoder is another network than SAM's and is left out. Read off
``efficient_sam/efficient_sam_encoder.py`` of yformer/EfficientSAM.
"""

from __future__ import annotations

import math
import re

from torch import Tensor

_NAMES = {
    "patch_embed.proj": "patch_embed.proj",
    "blocks.{n}.norm1": "blocks.{n}.norm1",
    "blocks.{n}.attn.qkv": "blocks.{n}.attn.qkv",
    "blocks.{n}.attn.proj": "blocks.{n}.attn.proj",
    "blocks.{n}.norm2": "blocks.{n}.norm2",
    "blocks.{n}.mlp.fc1": "blocks.{n}.mlp.lin1",
    "blocks.{n}.mlp.fc2": "blocks.{n}.mlp.lin2",
    "neck.{n}": "neck.{n}",
}
_ENCODER = "image_encoder."
_MLP = re.compile(r"image_encoder\.blocks\.\d+\.mlp\.fc1\.weight")


def is_efficient_name(key: str) -> bool:
    """Whether only EfficientSAM's files have such a key."""
    return _MLP.fullmatch(key) is not None


def official_encoder(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The image encoder under SAM's names, its position table as (1, G, G, E)."""
    renamed = {}
    for key, tensor in state_dict.items():
        if not key.startswith(_ENCODER):
            continue
        name, _, kind = key.removeprefix(_ENCODER).rpartition(".")
        number = re.search(r"\.(\d+)(?=\.|$)", name)
        pattern = name if number is None else f"{name[: number.start()]}.{{n}}{name[number.end() :]}"
        if pattern in _NAMES:
            official = _NAMES[pattern] if number is None else _NAMES[pattern].replace("{n}", number[1])
            renamed[f"{_ENCODER}{official}.{kind}"] = tensor
        elif key == _ENCODER + "pos_embed" and tensor.ndim == 3:
            grid = tensor[:, 1:]  # without the class token's
            side = math.isqrt(grid.shape[1])
            renamed[key] = grid.unflatten(1, (side, -1)) if side and grid.shape[1] == side * side else tensor
        else:
            renamed[key] = tensor
    return renamed
