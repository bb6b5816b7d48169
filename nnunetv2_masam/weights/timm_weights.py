"""Load checkpoints of timm's vision transformers, or of their authors' own code, into a network with such an encoder.

Reads the files of timm and those that timm's own converters know, such as DINOv3's, MedDINOv3's (a teacher's
``backbone`` among others) and SAM 2's, of which it takes the trunk. timm renames and resizes the tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from nnunetv2_masam.files import shortened
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.adaptation import adapter_parameters
from nnunetv2_masam.weights.formats import checked_weight
from nnunetv2_masam.weights.load import LoadReport, load_fitted
from nnunetv2_masam.weights.safe_read import read_tensors
from nnunetv2_masam.weights.state_dicts import unwrap
from nnunetv2_masam.weights.weight_files import bad_file, checkpoint_file, reading

_WRAPPERS = ("teacher", "model_ema", "model", "state_dict", "module", "student")
_PREFIXES = ("module.", "backbone.", "teacher.", "student.", "model.", "encoder.", "_orig_mod.", "image_encoder.trunk.")
_PATCHES = "patch_embed.proj.weight"
_ENCODER = "image_encoder.vit."


def load_timm_checkpoint(network: MASAM, path: str | Path) -> LoadReport:
    """Load the weights of a ViT into the encoder of ``network``.

    Args:
        network: one that was built with ``encoder="timm:…"``.
        path: file, or a folder with one.

    Returns:
        What became of every key.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file holds another network, is damaged or lacks a part of the encoder. Nothing is loaded
            then.
    """
    file = checkpoint_file(path)
    vit: Any = network.image_encoder.vit
    adapted = {name for name, _ in adapter_parameters(vit)}
    wanted = [name for name in vit.state_dict() if name not in adapted]
    report = LoadReport(Path(path))
    tensors = read_timm_weights(file)
    found, own = kind_of(tensors), kind_of(vit.state_dict())
    if found != own:
        raise bad_file(file, found, f"{network.encoder}, {own}", "Use a checkpoint of that encoder.")
    converted = sys.modules[type(vit).__module__].checkpoint_filter_fn(tensors, vit)
    # timm publishes the same weights with and without these, which are zero there
    wanted = [name for name in wanted if name in converted or not name.endswith((".q_bias", ".v_bias"))]
    for name in sorted(converted.keys() - set(wanted)):
        report.refused[name] = "the encoder has no such tensor"
    if missing := [name for name in wanted if name not in converted]:
        got = f"a file without {len(missing)} of the encoder's {len(wanted)} tensors ({shortened(missing, 2)})"
        remedy = f"Use a checkpoint of {network.encoder}."
        raise bad_file(file, got, f"the weights of {network.encoder}", remedy)
    return load_fitted(network, {_ENCODER + name: converted[name] for name in wanted}, report)


def read_timm_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a ViT, without the dicts and prefixes around them, in float32.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: there is no ViT in the file, it is damaged, or its weights are not finite floats.
    """
    file = checkpoint_file(path)
    with reading(file):
        return {name: checked_weight(file, name, t) for name, t in _find_vit(file, read_tensors(file)).items()}


def kind_of(tensors: Mapping[str, Tensor]) -> str:
    """What network a state dict of timm's is, in a sentence."""
    name, width = "Hiera" if "pos_embed_window" in tensors else "ViT", next(iter(tensors[_PATCHES].shape), 0)
    blocks = {key.split(".")[1] for key in tensors if key.startswith("blocks.")}
    return f"a {name} of width {width} and depth {len(blocks)}"


def _find_vit(path: Path, tensors: dict[str, Any]) -> dict[str, Tensor]:
    """The innermost state dict with a patch embedding, without its prefixes."""

    def without_prefix(candidate: Mapping[str, Any]) -> dict[str, Tensor] | None:
        prefix = next((name[: -len(_PATCHES)] for name in candidate if _is_patch_embedding(name)), None)
        if prefix is None:
            return None
        named = {name: tensor for name, tensor in candidate.items() if isinstance(tensor, Tensor)}
        return {name[len(prefix) :]: tensor for name, tensor in named.items() if name.startswith(prefix)}

    found, _ = unwrap(tensors, _WRAPPERS, without_prefix)
    if found is None:
        remedy = "Use a file of timm, of DINOv3 or of a network trained from it."
        raise bad_file(path, f"a file without {_PATCHES}", "the weights of a vision transformer", remedy)
    return found


def _is_patch_embedding(name: str) -> bool:
    if not name.endswith(_PATCHES):
        return False
    prefix = name[: -len(_PATCHES)]
    while known := next((p for p in _PREFIXES if prefix.startswith(p)), None):
        prefix = prefix[len(known) :]
    return prefix == ""
