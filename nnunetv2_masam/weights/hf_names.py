"""Key names of Hugging Face's ``SamModel`` → names of the official SAM checkpoints.

Read off transformers' SAM model and its conversion script (which goes the other way); ``{n}`` is a number.
"""

from __future__ import annotations

from nnunetv2_masam.weights.state_dicts import NameTable

_MLP = {"proj_in": "layers.0", "layers.0": "layers.1", "proj_out": "layers.2"}

# (their prefix, official prefix, {their name: official name})
_SECTIONS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "vision_encoder.",
        "image_encoder.",
        {
            "pos_embed": "pos_embed",
            "patch_embed.projection": "patch_embed.proj",
            "neck.conv1": "neck.0",
            "neck.layer_norm1": "neck.1",
            "neck.conv2": "neck.2",
            "neck.layer_norm2": "neck.3",
        },
    ),
    (
        "vision_encoder.layers.{n}.",
        "image_encoder.blocks.{n}.",
        {
            "layer_norm1": "norm1",
            "attn.qkv": "attn.qkv",
            "attn.proj": "attn.proj",
            "attn.rel_pos_h": "attn.rel_pos_h",
            "attn.rel_pos_w": "attn.rel_pos_w",
            "layer_norm2": "norm2",
            "mlp.lin1": "mlp.lin1",
            "mlp.lin2": "mlp.lin2",
        },
    ),
    # One matrix shared by two modules: files hold it under the first name, the second, or both.
    (
        "shared_image_embedding.",
        "prompt_encoder.pe_layer.",
        {"positional_embedding": "positional_encoding_gaussian_matrix"},
    ),
    (
        "prompt_encoder.",
        "prompt_encoder.",
        {
            "shared_embedding.positional_embedding": "pe_layer.positional_encoding_gaussian_matrix",
            "point_embed.{n}": "point_embeddings.{n}",
            "not_a_point_embed": "not_a_point_embed",
            "no_mask_embed": "no_mask_embed",
            "mask_embed.conv1": "mask_downscaling.0",
            "mask_embed.layer_norm1": "mask_downscaling.1",
            "mask_embed.conv2": "mask_downscaling.3",
            "mask_embed.layer_norm2": "mask_downscaling.4",
            "mask_embed.conv3": "mask_downscaling.6",
        },
    ),
    (
        "mask_decoder.",
        "mask_decoder.",
        {
            "iou_token": "iou_token",
            "mask_tokens": "mask_tokens",
            "upscale_conv1": "output_upscaling.0",
            "upscale_layer_norm": "output_upscaling.1",
            "upscale_conv2": "output_upscaling.3",
        },
    ),
    ("mask_decoder.output_hypernetworks_mlps.{n}.", "mask_decoder.output_hypernetworks_mlps.{n}.", _MLP),
    ("mask_decoder.iou_prediction_head.", "mask_decoder.iou_prediction_head.", _MLP),
    (
        "mask_decoder.transformer.",
        "mask_decoder.transformer.",
        {
            "final_attn_token_to_image": "final_attn_token_to_image",
            "layer_norm_final_attn": "norm_final_attn",
        },
    ),
    (
        "mask_decoder.transformer.layers.{n}.",
        "mask_decoder.transformer.layers.{n}.",
        {
            "self_attn": "self_attn",
            "layer_norm1": "norm1",
            "cross_attn_token_to_image": "cross_attn_token_to_image",
            "layer_norm2": "norm2",
            "mlp": "mlp",
            "layer_norm3": "norm3",
            "cross_attn_image_to_token": "cross_attn_image_to_token",
            "layer_norm4": "norm4",
        },
    ),
)

HF_TO_OFFICIAL: dict[str, str] = {
    their_prefix + theirs: official_prefix + official
    for their_prefix, official_prefix, names in _SECTIONS
    for theirs, official in names.items()
}

_TABLE = NameTable(HF_TO_OFFICIAL)


def is_hf_name(key: str) -> bool:
    """Whether a key can only come from ``SamModel``."""
    return key.startswith("vision_encoder.layers.")


def official_name(key: str) -> str | None:
    """The official name of a ``SamModel`` key, or None for a key that ``SamModel`` does not have."""
    return _TABLE.official(key)
