"""Load checkpoints into a network. Every key is loaded, resized, left new or refused, and the report says which.

Reads two kinds of file: SAM's format (official SAM, MedSAM, and what :mod:`.formats` turns into it) and the files that
the MA-SAM authors' code saves. Position tables and the patch embedding are fitted to the network as the authors do it
(``load_from`` in their ``build_sam.py``). Any other tensor that does not fit is an error, and nothing is loaded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from nnunetv2_masam.files import shortened
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.weights.formats import checked_weight, read_sam_checkpoint
from nnunetv2_masam.weights.recognition import fits, recognise_encoder
from nnunetv2_masam.weights.safe_read import read_tensors
from nnunetv2_masam.weights.weight_files import CheckpointError, bad_file, checkpoint_file, reading

_logger = logging.getLogger("nnunetv2_masam")

_PATCHES = (".patch_embed.proj.weight", ".patch_embed.seq.0.c.weight")
_EFFICIENT_GRID = (14, 14)  # position table of EfficientSAM, in tokens

# Parts of SAM that MA-SAM initialises anew or does not have.
_NOT_FROM_SAM = {
    "mask_decoder.mask_tokens.": "MA-SAM has one mask token for each output channel, started anew",
    "mask_decoder.output_hypernetworks_mlps.": "MA-SAM has one hypernetwork for each output channel, started anew",
    "mask_decoder.iou_prediction_head.": "MA-SAM has no IoU head",
}

# The authors' names → ours, tried in this order.
_AUTHORS_BLOCK = r"image_encoder\.ImageEncoderViT\.blocks\.(\d+)\.Block\."
_FROM_MASAM = (
    (r"([qv])_FacTs_0*(\d+)$", r"image_encoder.blocks.\2.attn.fact.\1.weight"),
    (r"image_encoder\.FacT([uv])\.weight$", r"image_encoder.fact.\1.weight"),
    (_AUTHORS_BLOCK + r"adapter_(?:linear_)?(down|up|conv|norm)_2\.", r"image_encoder.blocks.\1.adapter_2.\2."),
    (_AUTHORS_BLOCK + r"adapter_(?:linear_)?(down|up|conv|norm)\.", r"image_encoder.blocks.\1.adapter_1.\2."),
    (r"mask_decoder\.mask_tokens\.", r"mask_decoder.seg_layers.mask_tokens."),
    (r"mask_decoder\.output_hypernetworks_mlps\.", r"mask_decoder.seg_layers.hypernetworks."),
)


@dataclass
class LoadReport:
    """Report of what became of every key.

    Attributes:
        path: the file.
        loaded: the network's names, taken as they are.
        resized: the network's names → how the checkpoint's tensor was fitted.
        new: the network's names that the checkpoint lacks; they keep their initialisation.
        refused: the checkpoint's names that were not taken → why.
        warnings: what the user should know; each is also logged.
    """

    path: Path
    loaded: list[str] = field(default_factory=list)
    resized: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        """Add a warning, and log it."""
        self.warnings.append(message)
        _logger.warning("%s", message)

    def __str__(self) -> str:
        lines = [
            f"{self.path.name}: {len(self.loaded)} tensors loaded, {len(self.resized)} resized, "
            f"{len(self.new)} new, {len(self.refused)} refused"
        ]
        lines += [f"  resized: {shortened(f'{name} ({how})' for name, how in self.resized.items())}"] * bool(
            self.resized
        )
        lines += [f"  new: {shortened(self.new)}"] * bool(self.new)
        reasons: dict[str, list[str]] = {}
        for name, why in self.refused.items():
            reasons.setdefault(why, []).append(name)
        lines += [f"  refused: {shortened(names)}: {why}" for why, names in reasons.items()]
        lines += [f"  WARNING: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def load_sam_checkpoint(network: MASAM, path: str | Path, decoder: bool = True) -> LoadReport:
    """Load a checkpoint in SAM's format (SAM, MedSAM, fine-tuned or Hugging Face's naming) into ``network``.

    Args:
        network: any image size and number of channels; the encoder must be the checkpoint's.
        path: see :func:`~nnunetv2_masam.weights.formats.read_sam_state_dict`.
        decoder: take the mask decoder's weights too.

    Returns:
        What became of every key.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is not a SAM checkpoint, is damaged, is of another encoder or lacks a part of it.
            Nothing is loaded then.
    """
    checkpoint = read_sam_checkpoint(path)
    report = LoadReport(Path(path))
    tensors = {}
    not_taken = _NOT_FROM_SAM if decoder else {**_NOT_FROM_SAM, "mask_decoder.": "the decoder starts anew"}
    for name, tensor in checkpoint.state_dict.items():
        why = next((why for prefix, why in not_taken.items() if name.startswith(prefix)), None)
        if why is None:
            tensors[name] = tensor
        else:
            report.refused[name] = why
    own = network.state_dict()
    wanted = recognise_encoder(own)
    if not fits(checkpoint.geometry, wanted):
        remedy = "Take a checkpoint of the network's encoder, or the trainer for the checkpoint's."
        raise bad_file(checkpoint.path, checkpoint.geometry.kind, f"the network's encoder, {wanted.kind}", remedy)
    added = {name for name, _ in network.adapter_parameters()}
    needed = [name for name in own if name.startswith("image_encoder.") and name not in added]
    if missing := [name for name in needed if name not in tensors]:
        got = f"a file without {len(missing)} tensors of SAM's image encoder ({shortened(missing, 2)})"
        raise bad_file(checkpoint.path, got, "the whole image encoder", "Use a complete SAM checkpoint.")
    if checkpoint.warning:
        report.warn(checkpoint.warning)
    for part in ("prompt_encoder.", "mask_decoder.transformer.")[: 1 + decoder]:
        if not any(name.startswith(part) for name in tensors):
            report.warn(f"{checkpoint.path.name} has no {part}…; these weights start from random values")
    return load_fitted(network, tensors, report)


def load_masam_checkpoint(network: MASAM, path: str | Path) -> LoadReport:
    """Load a file saved by the MA-SAM authors' code: all that they train, none of SAM's frozen weights.

    Args:
        network: one whose SAM weights are loaded already; same ViT, rank, adapter width and number of classes.
        path: the authors' ``epoch_N.pth``.

    Returns:
        What became of every key; ``new`` lists what the file lacks, SAM's frozen weights among it.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is something else, is damaged or does not fit. Nothing is loaded then.
    """
    file = checkpoint_file(path)
    report = LoadReport(Path(path))
    tensors = {}
    with reading(file):
        for name, tensor in read_tensors(file).items():
            if not isinstance(tensor, Tensor):
                continue
            if name.startswith("mask_decoder.iou_prediction_head."):
                report.refused[name] = "no output depends on the IoU head; the network has none"
            else:
                tensors[masam_name(name)] = checked_weight(file, name, tensor)
    if "image_encoder.fact.u.weight" not in tensors and not any(".adapter_1." in name for name in tensors):
        raise CheckpointError(
            f"{path}: expected a file saved by the MA-SAM authors' code (FacT and adapter tensors), got neither; "
            "for a SAM checkpoint use load_sam_checkpoint, for an nnU-Net checkpoint -pretrained_weights"
        )
    return load_fitted(network, tensors, report)


def masam_name(name: str) -> str:
    """The network's name of a tensor in the authors' files; names that are the same in both are returned unchanged."""
    for pattern, replacement in _FROM_MASAM:
        renamed, count = re.subn("^" + pattern, replacement, name)
        if count:
            return renamed
    return name


def fit_tensors(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], report: LoadReport) -> dict[str, Tensor]:
    """Resize ``tensors`` to the shapes of ``own`` where there is a rule for it, and report what became of each.

    Raises:
        CheckpointError: a tensor has a shape that there is no rule for.
    """
    fitted: dict[str, Tensor] = {}
    misfits: list[str] = []
    for name, tensor in tensors.items():
        if name not in own:
            report.refused[name] = "the network has no such tensor"
            continue
        result = _fit(name, tensor, own[name])
        if result.shape != own[name].shape:
            misfits.append(f"{name} is {tuple(tensor.shape)}, the network needs {tuple(own[name].shape)}")
        elif result.shape == tensor.shape:
            report.loaded.append(name)
        else:
            report.resized[name] = f"{tuple(tensor.shape)} → {tuple(result.shape)}"
        fitted[name] = result
    if misfits:
        raise CheckpointError(
            f"{report.path}: {len(misfits)} tensors do not fit the network ({shortened(misfits, 3)}). Build the "
            "network with the ViT, rank, adapter width and number of classes of the checkpoint"
        )
    report.new = [name for name in own if name not in fitted]
    return fitted


def load_fitted(network: MASAM, tensors: dict[str, Tensor], report: LoadReport) -> LoadReport:
    """Fit and copy ``tensors``. An error leaves the network as it was."""
    own = network.state_dict()
    network.load_state_dict({**own, **fit_tensors(own, tensors, report)})
    return report


def _fit(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """Resize ``tensor`` to the shape of ``like`` where there is a rule for it; else return it unchanged."""
    if tensor.shape == like.shape or tensor.ndim != like.ndim:
        return tensor
    if name == "image_encoder.pos_embed" and tensor.shape[-1] == like.shape[-1]:
        table = tensor.permute(0, 3, 1, 2)  # (1, E, G, G')
        # EfficientSAM enlarges its 14 x 14 positions bicubically; MA-SAM's authors resize SAM's 64 x 64 bilinearly
        mode = "bicubic" if tuple(tensor.shape[1:3]) == _EFFICIENT_GRID else "bilinear"
        table = F.interpolate(table, like.shape[1:3], mode=mode, align_corners=False)
        return table.permute(0, 2, 3, 1)
    if ".attn.rel_pos_" in name and tensor.shape[1] == like.shape[1]:
        table = tensor.T[None]  # (1, E/heads, distances)
        return F.interpolate(table, like.shape[0], mode="linear", align_corners=False)[0].T
    if name.endswith(_PATCHES) and (tensor.shape[0], tensor.shape[2:]) == (like.shape[0], like.shape[2:]):
        summed = tensor.sum(dim=1, keepdim=True)  # (E, 1, 16, 16)
        channels = like.shape[1]
        return (summed / channels).expand(-1, channels, -1, -1).contiguous()
    return tensor
