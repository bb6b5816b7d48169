"""Derive the network's arguments from a file saved by the MA-SAM authors' code and its SAM file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nnunetv2_masam.architecture import VIT_PRESETS
from nnunetv2_masam.weights import CheckpointError
from nnunetv2_masam.weights.formats import recognise_file
from nnunetv2_masam.weights.load import masam_name
from nnunetv2_masam.weights.recognition import ViTGeometry
from nnunetv2_masam.weights.safe_read import read_tensors
from nnunetv2_masam.weights.weight_files import bad_file

_FACT_U = "image_encoder.fact.u.weight"
_ADAPTER_DOWN = "image_encoder.blocks.{}.adapter_1.down.weight"


@dataclass(frozen=True)
class AuthorsModel:
    """The network's arguments and number of classes, derived from the authors' file and its SAM file.

    Attributes:
        num_classes: output channels, background included.
    """

    arch_kwargs: dict[str, Any]
    num_classes: int


def recognise_authors_model(adapt: Path, sam: Path, image_size: Sequence[int], scale: float) -> AuthorsModel:
    """Read ViT, rank, adapter width and number of classes from the shapes.

    Args:
        adapt: saved by the authors' code.
        sam: the SAM file that it was trained from.
        image_size: (S, S'), pixels; not in the files.
        scale: of FacT; not in the files.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: one of the files is something else, or they are of two ViTs.
    """
    geometry = recognise_file(sam)
    if not isinstance(geometry, ViTGeometry):
        remedy = "Give the SAM file that the model was trained from."
        raise bad_file(sam, geometry.kind, "a ViT, which the authors' models have", remedy)
    tensors = {masam_name(name): t for name, t in read_tensors(adapt).items() if isinstance(t, Tensor)}
    tokens = tensors.get("mask_decoder.seg_layers.mask_tokens.weight")
    if tokens is None:
        raise CheckpointError(
            f"{adapt}: got a file without mask_decoder.mask_tokens.weight; expected one saved by the MA-SAM authors' "
            "code (epoch_N.pth). For an nnU-Net checkpoint use it as it is"
        )
    _check_same_vit(adapt, tensors, sam, geometry)
    vit: str | dict[str, Any] | None = geometry.preset
    if vit is None:
        vit = {key: value for key, value in asdict(geometry).items() if key not in ("image_size", "preset")}
        vit["global_attn_indexes"] = list(geometry.global_attn_indexes)
    fact, adapter = tensors.get(_FACT_U), tensors.get(_ADAPTER_DOWN.format(0))
    arch_kwargs = {
        "vit": vit,
        "image_size": list(image_size),
        "fact_rank": 0 if fact is None else fact.shape[0],
        "fact_scale": scale,
        "adapter_channels": 0 if adapter is None else adapter.shape[0],
        "half_turn": True,
    }
    return AuthorsModel(arch_kwargs, tokens.shape[0])


def _check_same_vit(adapt: Path, tensors: Mapping[str, Tensor], sam: Path, geometry: ViTGeometry) -> None:
    """Refuse an authors' file that was trained on another ViT than that of the SAM file."""
    reduced = [tensors[name] for name in (_FACT_U, _ADAPTER_DOWN.format(0)) if name in tensors]
    if any(tensor.ndim != 2 for tensor in reduced):
        got = f"FacT or adapter tensors of shape {tuple(reduced[0].shape)}"
        raise bad_file(adapt, got, "matrices (rank or channels, width)", "Use the authors' epoch_N.pth as it is.")
    blocks = {int(match[1]) for name in tensors if (match := re.match(r"image_encoder\.blocks\.(\d{1,4})\.", name))}
    if not reduced or not blocks:
        return  # loading says what is missing
    width, depth = reduced[0].shape[1], max(blocks) + 1
    if (width, depth) != (geometry.embed_dim, geometry.depth):
        fitting = (name for name, size in VIT_PRESETS.items() if (size.embed_dim, size.depth) == (width, depth))
        raise CheckpointError(
            f"{adapt} was trained on {next(fitting, 'a ViT')} (width {width}, {depth} blocks), {sam} holds {geometry} "
            f"(width {geometry.embed_dim}, {geometry.depth} blocks); expected the same ViT in both. Give the SAM file "
            "that the model was trained from"
        )
