"""Key names of Hugging Face's ``SamModel`` and of EfficientSAM → names of the official SAM checkpoints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from torch import Tensor

# All that match are applied, in this order. Read off transformers' SAM model and its conversion script.
_FROM_HF = (
    (r"^vision_encoder\.layers\.(\d+)\.layer_norm([12])", r"image_encoder.blocks.\1.norm\2"),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.patch_embed\.projection", "image_encoder.patch_embed.proj"),
    (r"^vision_encoder\.neck\.conv1", "image_encoder.neck.0"),
    (r"^vision_encoder\.neck\.layer_norm1", "image_encoder.neck.1"),
    (r"^vision_encoder\.neck\.conv2", "image_encoder.neck.2"),
    (r"^vision_encoder\.neck\.layer_norm2", "image_encoder.neck.3"),
    (r"^vision_encoder\.", "image_encoder."),
    # one matrix shared by two modules: files hold it under the first name, the second, or both
    (r"^(shared_image_embedding|prompt_encoder\.shared_embedding)\.positional_embedding",
     "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"^prompt_encoder\.mask_embed\.conv1", "prompt_encoder.mask_downscaling.0"),
    (r"^prompt_encoder\.mask_embed\.layer_norm1", "prompt_encoder.mask_downscaling.1"),
    (r"^prompt_encoder\.mask_embed\.conv2", "prompt_encoder.mask_downscaling.3"),
    (r"^prompt_encoder\.mask_embed\.layer_norm2", "prompt_encoder.mask_downscaling.4"),
    (r"^prompt_encoder\.mask_embed\.conv3", "prompt_encoder.mask_downscaling.6"),
    (r"^mask_decoder\.upscale_conv1", "mask_decoder.output_upscaling.0"),
    (r"^mask_decoder\.upscale_layer_norm", "mask_decoder.output_upscaling.1"),
    (r"^mask_decoder\.upscale_conv2", "mask_decoder.output_upscaling.3"),
    (r"^mask_decoder\.transformer\.layer_norm_final_attn", "mask_decoder.transformer.norm_final_attn"),
    (r"^(mask_decoder\.transformer\.layers\.\d+)\.layer_norm([1-4])", r"\1.norm\2"),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.0", r"\1.layers.1"),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.proj_in", r"\1.layers.0"),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.proj_out", r"\1.layers.2"),
)  # fmt: skip

_ENCODER = "image_encoder."
_EFFICIENT_MLP = re.compile(r"(image_encoder\.blocks\.\d+\.mlp)\.fc([12])\.")


def is_from_hf(keys: Iterable[str]) -> bool:
    """Whether names can only come from ``SamModel``."""
    return any(key.startswith("vision_encoder.layers.") for key in keys)


def from_hf(key: str) -> str:
    """The official name of a ``SamModel`` key."""
    for pattern, official in _FROM_HF:
        key = re.sub(pattern, official, key)
    return key


def is_from_efficient_sam(keys: Iterable[str]) -> bool:
    """Whether names can only come from EfficientSAM."""
    return any(map(_EFFICIENT_MLP.match, keys))


def from_efficient_sam(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """EfficientSAM's image encoder under SAM's names, its position table as (1, G, G, E) without the class token's.

    Its decoder is another network than SAM's and is left out. Source: yformer/EfficientSAM.
    """
    encoder = {key: tensor for key, tensor in state_dict.items() if key.startswith(_ENCODER)}
    renamed = {_EFFICIENT_MLP.sub(r"\1.lin\2.", key): tensor for key, tensor in encoder.items()}
    table = renamed.get(_ENCODER + "pos_embed")
    if table is not None and table.ndim == 3:
        grid = table[:, 1:]
        side = math.isqrt(grid.shape[1])
        if side and grid.shape[1] == side * side:
            renamed[_ENCODER + "pos_embed"] = grid.unflatten(1, (side, side))
    return renamed
