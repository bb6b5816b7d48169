"""Key names of the authors' 3D UX-Net and nnFormer, as literal tables."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nnunetv2_masam.baselines import NNFormer, UXNet3D

# the beginning of a key in the authors' file: the beginning of ours
UXNET_KEYS = {
    "uxnet_3d.downsample_layers.": "backbone.downsample_layers.",
    "uxnet_3d.stages.": "backbone.stages.",
    "uxnet_3d.norm0.": "backbone.norms.0.",
    "uxnet_3d.norm1.": "backbone.norms.1.",
    "uxnet_3d.norm2.": "backbone.norms.2.",
    "uxnet_3d.norm3.": "backbone.norms.3.",
    "encoder1.": "encoders.0.",
    "encoder2.": "encoders.1.",
    "encoder3.": "encoders.2.",
    "encoder4.": "encoders.3.",
    "encoder5.": "encoders.4.",
    "decoder5.": "decoders.0.",
    "decoder4.": "decoders.1.",
    "decoder3.": "decoders.2.",
    "decoder2.": "decoders.3.",
    "decoder1.": "refinement.",
    "out.conv.conv.": "out.",
}
NNFORMER_KEYS = {
    "model_down.patch_embed.proj1.conv1.": "patch_embed.convolutions.0.",
    "model_down.patch_embed.proj1.conv2.": "patch_embed.convolutions.1.",
    "model_down.patch_embed.proj2.conv1.": "patch_embed.convolutions.2.",
    "model_down.patch_embed.proj2.conv2.": "patch_embed.convolutions.3.",
    "model_down.patch_embed.proj1.norm1.": "patch_embed.norms.0.",
    "model_down.patch_embed.proj1.norm2.": "patch_embed.norms.1.",
    "model_down.patch_embed.proj2.norm1.": "patch_embed.norms.2.",
    "model_down.patch_embed.norm.": "patch_embed.norms.3.",
    "model_down.layers.0.blocks.": "encoder_levels.0.blocks.",
    "model_down.layers.1.blocks.": "encoder_levels.1.blocks.",
    "model_down.layers.2.blocks.": "encoder_levels.2.blocks.",
    "model_down.layers.3.blocks.": "encoder_levels.3.blocks.",
    "model_down.layers.0.downsample.": "merging.0.",
    "model_down.layers.1.downsample.": "merging.1.",
    "model_down.layers.2.downsample.": "merging.2.",
    "model_down.norm0.": "norms.0.",
    "model_down.norm1.": "norms.1.",
    "model_down.norm2.": "norms.2.",
    "model_down.norm3.": "norms.3.",
    "decoder.layers.0.blocks.": "decoder_levels.0.blocks.",
    "decoder.layers.1.blocks.": "decoder_levels.1.blocks.",
    "decoder.layers.2.blocks.": "decoder_levels.2.blocks.",
    "decoder.layers.0.Upsample.": "expanding.0.",
    "decoder.layers.1.Upsample.": "expanding.1.",
    "decoder.layers.2.Upsample.": "expanding.2.",
    "final.0.up.": "heads.0.",
    "final.1.up.": "heads.1.",
    "final.2.up.": "heads.2.",
}
INSIDE = {".mlp.fc1.": ".mlp.linear1.", ".mlp.fc2.": ".mlp.linear2."}  # anywhere in a key


def our_key(key: str, table: Mapping[str, str]) -> str | None:
    """Our name for the authors' ``key``; None where the table has none."""
    for theirs, ours in table.items():
        if key.startswith(theirs):
            key = ours + key[len(theirs) :]
            for inside, replacement in INSIDE.items():
                key = key.replace(inside, replacement)
            return key
    return None


def load_authors_weights(network: UXNet3D | NNFormer, state_dict: Mapping[str, Tensor]) -> None:
    """Load a state dict with the authors' names: all parameters, and index tables that are equal to the network's."""
    table = UXNET_KEYS if isinstance(network, UXNet3D) else NNFORMER_KEYS
    renamed = {our_key(name, table): tensor for name, tensor in state_dict.items()}
    for name, index in network.named_buffers():
        if name in renamed:
            assert torch.equal(index, renamed.pop(name).to(index.dtype))
    network.load_state_dict(renamed)
