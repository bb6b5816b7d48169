"""Checkpoints of timm's vision transformers, and of their authors' own code, into a network with such an encoder.

Read are timm's files and those that timm's own converters know, such as DINOv3's and MedDINOv3's (a teacher's
``backbone`` among others). timm renames and resizes; nothing of that is done here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from nnunetv2_masam.files import cache_folder, shortened
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.adaptation import adapter_parameters
from nnunetv2_masam.network.encoders import TIMM
from nnunetv2_masam.weights.formats import checked_weight
from nnunetv2_masam.weights.load import LoadReport, load_fitted
from nnunetv2_masam.weights.safe_read import bad_file, checkpoint_file, read_tensors, reading

_WRAPPERS = ("teacher", "model_ema", "model", "state_dict", "module", "student")
_PREFIXES = ("module.", "backbone.", "teacher.", "student.", "model.", "encoder.", "_orig_mod.")
_PATCHES = "patch_embed.proj.weight"
_ENCODER = "image_encoder.vit."


def resolve_timm_checkpoint(encoder: str) -> Path:
    """The file that ``MASAM_CHECKPOINT`` names, else one of the model's name in the cache folder.

    Raises:
        FileNotFoundError: there is neither; the message says where such files come from.
    """
    name = encoder.removeprefix(TIMM)
    if named := os.environ.get("MASAM_CHECKPOINT"):
        path = Path(named).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"MASAM_CHECKPOINT names {path}, which does not exist. Correct or unset it.")
        return path
    candidates = [cache_folder() / f"{name}{ending}" for ending in (".safetensors", ".pth")]
    if found := next((path for path in candidates if path.is_file()), None):
        return found
    raise FileNotFoundError(
        f"no weights for {encoder}: MASAM_CHECKPOINT is not set, and there is no {candidates[0]}. Nothing is "
        "downloaded, because DINOv3's licence has to be accepted where the files lie: model.safetensors of "
        f"timm/{name}.lvd1689m on Hugging Face, Meta's own files, or MedDINOv3, which was trained on CT "
        "(github.com/ricklisz/MedDINOv3). Set MASAM_CHECKPOINT to the file"
    )


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
    with reading(file):
        tensors = {name: checked_weight(file, name, t) for name, t in _find_vit(file, read_tensors(file)).items()}
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


def _find_vit(path: Path, tensors: dict[str, Any]) -> dict[str, Tensor]:
    """The innermost state dict with a patch embedding, without its prefixes."""
    candidate = tensors
    while True:
        prefix = next((name[: -len(_PATCHES)] for name in candidate if _is_patch_embedding(name)), None)
        if prefix is not None:
            named = {name: tensor for name, tensor in candidate.items() if isinstance(tensor, Tensor)}
            return {name[len(prefix) :]: tensor for name, tensor in named.items() if name.startswith(prefix)}
        wrapper = next((name for name in _WRAPPERS if isinstance(candidate.get(name), dict)), None)
        if wrapper is None:
            remedy = "Use a file of timm, of DINOv3 or of a network trained from it."
            raise bad_file(path, f"a file without {_PATCHES}", "the weights of a vision transformer", remedy)
        candidate = candidate[wrapper]


def _is_patch_embedding(name: str) -> bool:
    if not name.endswith(_PATCHES):
        return False
    prefix = name[: -len(_PATCHES)]
    while known := next((p for p in _PREFIXES if prefix.startswith(p)), None):
        prefix = prefix[len(known) :]
    return prefix == ""
