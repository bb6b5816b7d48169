"""The authors' checkpoints of 3D UX-Net and nnFormer, by literal tables of their key names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnunetv2_masam.baselines.nnformer import NNFormer
from nnunetv2_masam.baselines.uxnet3d import UXNet3D
from nnunetv2_masam.files import shortened

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
HEADS = ("out.", "heads.")  # depend on the number of classes
FIRST = ("backbone.downsample_layers.0.0.weight", "encoders.0.layer.conv1.", "encoders.0.layer.conv3.",
         "patch_embed.convolutions.0.weight")  # depend on the number of channels  # fmt: skip


@dataclass(frozen=True)
class AuthorsReport:
    """Report of every key: what happened to it, by our names where there is one.

    Attributes:
        loaded: parameters that were loaded.
        checked: index tables that are equal in the file and the network.
        fresh: parameters that keep their values because the file has none of their shape: first and last layers only.
        unknown: keys of the file that the network does not have.
    """

    loaded: tuple[str, ...]
    checked: tuple[str, ...]
    fresh: tuple[str, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"loaded: {len(self.loaded)} parameters; equal: {len(self.checked)} index tables"]
        if self.fresh:
            lines.append(f"not loaded: {shortened(self.fresh)}")
        if self.unknown:
            lines.append(f"not in the network: {shortened(self.unknown)}")
        return "\n".join(lines)


def our_key(key: str, table: Mapping[str, str]) -> str | None:
    """Our name for the authors' ``key``; None where the table has none."""
    for theirs, ours in table.items():
        if key.startswith(theirs):
            key = ours + key[len(theirs) :]
            for inside, replacement in INSIDE.items():
                key = key.replace(inside, replacement)
            return key
    return None


def load_authors_weights(network: nn.Module, state_dict: Mapping[str, Tensor]) -> AuthorsReport:
    """Load a state dict with the authors' key names into 3D UX-Net or nnFormer.

    Args:
        network: a :class:`UXNet3D` or :class:`NNFormer`.
        state_dict: the authors' keys; a prefix ``module.`` is ignored.

    Raises:
        ValueError: a parameter other than those of the first and the last layer is missing or has another shape, or
            nnFormer's table of relative positions is another one. Nothing is loaded then.
    """
    if isinstance(network, UXNet3D):
        table = UXNET_KEYS
    elif isinstance(network, NNFormer):
        table = NNFORMER_KEYS
    else:
        raise ValueError(f"network: got {type(network).__name__}, expected UXNet3D or NNFormer")
    own = dict(network.named_parameters())
    indexes = dict(network.named_buffers())
    loadable: dict[str, Tensor] = {}
    checked: list[str] = []
    unknown: list[str] = []
    wrong: list[str] = []
    for theirs, tensor in state_dict.items():
        name = our_key(theirs.removeprefix("module."), table)
        if name in own and own[name].shape == tensor.shape:
            loadable[name] = tensor
        elif name in indexes:
            same = torch.equal(indexes[name].cpu(), tensor.cpu().to(indexes[name].dtype))
            (checked if same else wrong).append(name)
        elif name not in own:
            unknown.append(theirs)
    fresh = [name for name in own if name not in loadable]
    wrong += [name for name in fresh if not name.startswith(HEADS + FIRST)]
    if wrong:
        raise ValueError(
            f"the state dict does not fit: {len(wrong)} of {len(own)} parameters are missing or have another shape, "
            f"expected by this {type(network).__name__}: {shortened(wrong)}. Build the network with the arguments of "
            "the checkpoint"
        )
    with torch.no_grad():
        for name, tensor in loadable.items():
            own[name].copy_(tensor)
    return AuthorsReport(tuple(loadable), tuple(checked), tuple(fresh), tuple(unknown))
