"""Read any SAM checkpoint into a state dict with the names of the official files, in float32 on the CPU.

Accepted: official files; the same with the prefixes ``module.``, ``model.``, ``sam.`` or ``_orig_mod.``, or
without ``image_encoder.``, where only that was saved; or
wrapped in ``{"model": …}``, ``{"state_dict": …}``, ``{"model_state_dict": …}`` or micro-sam's and medico-sam's
``{"model_state": …}``; Hugging Face's ``SamModel``; the image encoder of EfficientSAM; files with adapters or LoRA of
other methods, of which SAM's own weights are taken; each as ``torch.save`` or safetensors file, or as a folder that
holds one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnunetv2_masam.files import shortened
from nnunetv2_masam.weights.efficient_names import is_efficient_name, official_encoder
from nnunetv2_masam.weights.hf_names import is_hf_name, official_name
from nnunetv2_masam.weights.recognition import Geometry, has_encoder, recognise_encoder
from nnunetv2_masam.weights.safe_read import read_tensors
from nnunetv2_masam.weights.state_dicts import unwrap
from nnunetv2_masam.weights.weight_files import CheckpointError, bad_file, checkpoint_file, reading

__all__ = [
    "CheckpointError",
    "SamCheckpoint",
    "read_sam_checkpoint",
    "read_sam_state_dict",
    "read_tensors",
    "recognise_file",
]

_PREFIXES = ("module.", "model.", "sam.", "_orig_mod.")
_WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state")
_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
# What SAM's files hold under its three parts; other names there are additions of other methods.
_SAM_NAME = re.compile(
    r"image_encoder\.(pos_embed|patch_embed\.proj\.\w+|neck\.[0-3]\.\w+|"
    r"blocks\.\d+\.(norm[12]\.\w+|attn\.(qkv|proj)\.(weight|bias)|attn\.rel_pos_[hw]|mlp\.lin[12]\.(weight|bias)))|"
    r"prompt_encoder\.(pe_layer|point_embeddings|not_a_point_embed|mask_downscaling|no_mask_embed)\..*|"
    r"mask_decoder\.(transformer|iou_token|mask_tokens|output_upscaling|output_hypernetworks_mlps|iou_prediction_head)\..*|"
    # TinyViT
    r"image_encoder\.(patch_embed\.seq\.[02]|layers\.\d+\.(blocks\.\d+\.(conv[123]|local_conv)|downsample\.conv[123]))"
    r"\.(c|bn)\.\w+|image_encoder\.(norm_head|head)\.\w+|"
    r"image_encoder\.layers\.\d+\.blocks\.\d+\.(attn\.(attention_bias\w+|(norm|qkv|proj)\.\w+)|mlp\.(norm|fc[12])\.\w+)"
)
# names that the ViTs and TinyViTs of classification do not have
_OF_SAM = re.compile(r"image_encoder\.(neck\.0\.weight|blocks\.\d+\.attn\.rel_pos_h)$")
# LoRA around the projection, as in micro-sam and in SAMed's descendants
_WRAPPED_QKV = re.compile(r"(\.attn\.qkv)\.(?:qkv|qkv_proj)(\.(?:weight|bias))$")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_EXPECTED = "SAM weights (image_encoder.blocks.…, prompt_encoder.…, mask_decoder.…)"


@dataclass(frozen=True)
class SamCheckpoint:
    """A SAM checkpoint as read.

    Attributes:
        path: the file (not the folder that was named).
        naming: how its keys were named, for people.
        geometry: its image encoder.
        foreign: names under SAM's three parts that SAM does not have: adapters or LoRA of other methods.
        state_dict: official names → float32 CPU tensors. Keys outside SAM's three parts are kept as they are.
    """

    path: Path
    naming: str
    geometry: Geometry
    foreign: tuple[str, ...]
    state_dict: dict[str, Tensor]

    @property
    def warning(self) -> str | None:
        """Warning about what is lost if only SAM's weights are taken from the file; None if nothing is."""
        if not self.foreign:
            return None
        return (
            f"{self.path.name} holds {len(self.foreign)} tensors that SAM does not have "
            f"({shortened(self.foreign, 2)}): it was trained by another method, with adapters, LoRA or further layers. "
            "They are left out, and SAM's own weights alone are not the model that was trained."
        )


def read_sam_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read any SAM checkpoint into official key names and float32; see :func:`read_sam_checkpoint`."""
    return read_sam_checkpoint(path).state_dict


def read_sam_checkpoint(path: str | Path) -> SamCheckpoint:
    """Read any SAM checkpoint (a file, or a folder with one) and recognise its image encoder.

    Raises:
        FileNotFoundError: there is no such file, or no weights file in the folder.
        CheckpointError: the file is damaged, contains code, is no SAM checkpoint, or its weights are not
            finite floats.
    """
    read = _read_named(path, values=True)
    with reading(read.path):
        state_dict = {key: _checked(read.path, key, tensor) for key, tensor in read.state_dict.items()}
    return replace(read, state_dict=state_dict)


def recognise_file(path: str | Path) -> Geometry:
    """The image encoder of a SAM checkpoint, without looking at the values.

    Raises:
        FileNotFoundError, CheckpointError: as :func:`read_sam_checkpoint`, values aside.
    """
    return _read_named(path, values=False).geometry


def _read_named(path: str | Path, *, values: bool) -> SamCheckpoint:
    file = checkpoint_file(path)
    state_dict, naming = _find_state_dict(file, read_tensors(file, values=values))
    if any(is_hf_name(key) for key in state_dict):
        state_dict = _renamed(file, ((official_name(key) or key, value) for key, value in state_dict.items()))
        naming = f"Hugging Face SamModel{naming}"
    elif any(is_efficient_name(key) for key in state_dict):
        state_dict, naming = official_encoder(state_dict), f"EfficientSAM{naming}, image encoder only"
    else:
        state_dict = _renamed(file, ((_WRAPPED_QKV.sub(r"\1\2", key), value) for key, value in state_dict.items()))
        naming = f"official names{naming}"
    try:
        geometry = recognise_encoder(state_dict)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error
    ours = (*_PARTS, "vision_encoder.")
    foreign = tuple(key for key in state_dict if key.startswith(ours) and not _SAM_NAME.fullmatch(key))
    return SamCheckpoint(file, naming, geometry, foreign, state_dict)


def _find_state_dict(path: Path, tensors: dict[str, Any]) -> tuple[dict[str, Tensor], str]:
    """The state dict in a possibly wrapped checkpoint, prefixes removed, and what was taken off."""
    seen: dict[str, Tensor] = {}  # in the innermost dict

    def with_encoder(candidate: Mapping[str, Any]) -> tuple[dict[str, Tensor], str] | None:
        nonlocal seen
        flat = {key: value for key, value in candidate.items() if isinstance(value, Tensor)}
        seen = _renamed(path, ((_without_prefixes(key), value) for key, value in flat.items()))
        prefixed = ", prefix removed" if seen.keys() != flat.keys() else ""
        if _is_bare_encoder(seen):
            return {_PARTS[0] + key: value for key, value in seen.items()}, f"{prefixed}, image encoder only"
        return (seen, prefixed) if _has_encoder(seen) else None

    found, wrappers = unwrap(tensors, _WRAPPERS, with_encoder)
    if found is None:
        raise _not_sam(path, tensors, seen)
    state_dict, prefixed = found
    return state_dict, (f", inside {'.'.join(wrappers)!r}" if wrappers else "") + prefixed


def _has_encoder(keys: Iterable[str]) -> bool:
    """Whether SAM's image encoder is in there; the authors' files and SAM 2 have such keys as well."""
    keys = set(keys)
    return has_encoder(keys) or any(is_hf_name(key) for key in keys)


def _is_bare_encoder(keys: Iterable[str]) -> bool:
    """Whether SAM's image encoder was saved alone: a ViT with SAM's neck or relative positions, or a TinyViT."""
    prefixed = {_PARTS[0] + key for key in keys}
    return has_encoder(prefixed) and any(_OF_SAM.match(key) for key in prefixed)


def _without_prefixes(key: str) -> str:
    while prefix := next((prefix for prefix in _PREFIXES if key.startswith(prefix)), None):
        key = key[len(prefix) :]
    return key


def _renamed(path: Path, items: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """A dict of renamed tensors; two different tensors under one name are an error, equal ones are shared."""
    renamed: dict[str, Tensor] = {}
    for key, value in items:
        if key in renamed and not _equal(renamed[key], value):
            remedy = "Save only the state dict of the model that is meant."
            raise bad_file(path, f"two different tensors for {key}", "one", remedy)
        renamed[key] = value
    return renamed


def _not_sam(path: Path, tensors: Mapping[str, Any], innermost: Mapping[str, Tensor]) -> CheckpointError:
    keys = [_without_prefixes(key) for key in (*tensors, *innermost)]
    if "network_weights" in tensors:
        got, remedy = "an nnU-Net checkpoint", "Use it with nnUNetv2_predict or -pretrained_weights."
    elif any(key.startswith(("q_FacTs_", "v_FacTs_")) or "FacTu" in key for key in keys):
        got = "the trained parts of a model saved by the MA-SAM authors' code, without SAM's frozen weights"
        remedy = "Turn it and its SAM file into a model folder with `nnUNetv2_masam import-masam`."
    elif any(key.startswith(("image_encoder.trunk.", "vision_encoder.backbone.")) for key in keys):
        got, remedy = (
            "a SAM 2 checkpoint, which is another network",
            "Use one of the first SAM, or nnUNetTrainerMASAM_hiera.",
        )
    elif any(key.startswith(("image_encoder.", "vision_encoder.")) for key in keys):
        got = "an image encoder that is neither SAM's ViT nor a TinyViT"
        remedy = "SAMs with other encoders than SAM's ViT and TinyViT do not fit."
    else:
        got = f"a checkpoint of something else ({_outline(tensors)})"
        remedy = (
            "If SAM's weights are in an inner dict, save that one alone; else use one of the files listed by "
            "`nnUNetv2_masam weights`, or a SAM fine-tuned from them."
        )
    return bad_file(path, got, _EXPECTED, remedy)


def _outline(tensors: Mapping[str, Any]) -> str:
    """The first keys of a dict, and those of the dicts in it."""
    inner = (f"{key} with {_outline(value)}" if isinstance(value, Mapping) else key for key, value in tensors.items())
    return f"keys: {shortened(inner, 3)}"


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def _checked(path: Path, key: str, tensor: Tensor) -> Tensor:
    """As :func:`checked_weight`; counters and tensors outside SAM's three parts may be of any other type."""
    if tensor.dtype not in _FLOATS and (key.endswith(".num_batches_tracked") or not key.startswith(_PARTS)):
        return tensor
    return checked_weight(path, key, tensor)


def checked_weight(path: Path, key: str, tensor: Tensor) -> Tensor:
    """A weight in float32.

    Raises:
        CheckpointError: it is empty, not dense, no float, or has values that are not finite.
    """
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta:
        remedy = "Save it as tensors that are dense: tensor.to_dense()."
        raise bad_file(path, f"{key} as a sparse, nested or meta tensor", "a dense tensor", remedy)
    if tensor.dtype not in _FLOATS:
        remedy = "Quantised weights cannot be used; take the file before quantisation."
        raise bad_file(path, f"{key} as {tensor.dtype}", "float16, bfloat16, float32 or float64", remedy)
    if tensor.numel() == 0:
        remedy = "Use a complete checkpoint."
        raise bad_file(path, f"{key} of shape {tuple(tensor.shape)}, without values", "weights", remedy)
    tensor = tensor.to(torch.float32)
    if not torch.isfinite(tensor).all():
        count = int((~torch.isfinite(tensor)).sum())
        remedy = "The training that wrote it diverged, or the file is damaged: use another one."
        raise bad_file(path, f"{count} NaN or infinite values in {key}", "finite weights", remedy)
    return tensor
