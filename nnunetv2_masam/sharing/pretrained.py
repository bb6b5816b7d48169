"""Fit a trained model to the channels and image size of another dataset, to start another training from it.

nnU-Net's ``-pretrained_weights`` leaves out the layers that depend on the classes and requires all other tensors in the
same shape. Those that depend on channels and image size are fitted here as SAM's weights are on loading.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from nnunetv2_masam.catalogue import find_masam_trainer
from nnunetv2_masam.files import atomic_file
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.nnunet_files import checked_identifier, preprocessed_dataset, read_dataset_json
from nnunetv2_masam.plans_file import read_plans
from nnunetv2_masam.sharing.requests import AdaptRequest
from nnunetv2_masam.weights.load import LoadReport, fit_tensors
from nnunetv2_masam.weights.provenance import KEY, stored_provenance
from nnunetv2_masam.weights.trained import completed_weights, read_nnunet_checkpoint
from nnunetv2_masam.weights.weight_files import CheckpointError

CLASS_LAYERS = ".seg_layers."  # in the names of what nnU-Net leaves out


@dataclass(frozen=True)
class AdaptedCheckpoint:
    """What was written.

    Attributes:
        dataset: name of the dataset that it was fitted to.
        report: what became of every tensor; ``new`` are those that depend on the classes.
    """

    path: Path
    dataset: str
    report: LoadReport


def adapt_pretrained(request: AdaptRequest) -> AdaptedCheckpoint:
    """Fit a checkpoint to the network that a training would have, for ``nnUNetv2_train -pretrained_weights``.

    Raises:
        FileNotFoundError: no such checkpoint, or the base of a slim one is missing.
        ValueError: there is no such dataset, trainer or configuration, the plans are missing or damaged, or the output
            is there.
        CheckpointError: the networks differ in more than classes, channels and image size.
    """
    folder = preprocessed_dataset(request.dataset)
    plans_file = folder / f"{checked_identifier(request.plans, '-p')}.json"
    if not plans_file.is_file():
        raise ValueError(f"-p: no plans {plans_file.name} in {folder}; plan first, as for the training")
    plans, dataset_json = read_plans(plans_file), read_dataset_json(folder)
    trainer = find_masam_trainer(request.trainer)
    manager = PlansManager(trainer.planned(plans, request.configuration, dataset_json))
    configuration = manager.get_configuration(request.configuration)
    channels = determine_num_input_channels(manager, configuration, dataset_json)
    report = adapt_checkpoint(
        request.checkpoint,
        request.output,
        channels,
        configuration.network_arch_init_kwargs,
        overwrite=request.overwrite,
    )
    return AdaptedCheckpoint(request.output, folder.name, report)


def adapt_checkpoint(
    path: Path, out: Path, channels: int, arch_kwargs: dict[str, Any], *, overwrite: bool = False
) -> LoadReport:
    """Write a checkpoint that ``-pretrained_weights`` takes for a network of other channels or image size.

    Args:
        channels: input channels of the new network.

    Returns:
        What became of every tensor; ``new`` are those that depend on the classes.

    Raises:
        FileNotFoundError: no such checkpoint, or the base of a slim one is missing.
        ValueError: ``out`` is there.
        CheckpointError: the networks differ in more than classes, channels and image size.
    """
    if out.is_dir() or (out.exists() and not overwrite):
        kind = "a folder" if out.is_dir() else "a file that is there already"
        raise ValueError(f"-o: got {kind}, {out}; expected the name of a new file. Choose another, or use --overwrite")
    checkpoint = read_nnunet_checkpoint(path)
    weights = completed_weights(checkpoint)
    with torch.device("meta"):
        network = MASAM(channels, 1, **arch_kwargs)
    report = LoadReport(path)
    own = {name: tensor for name, tensor in network.state_dict().items() if CLASS_LAYERS not in name}
    _check_same_parts(path, weights, own)
    kept = {name: tensor for name, tensor in weights.items() if CLASS_LAYERS not in name}
    fitted = fit_tensors(own, kept, report)
    report.new = [name for name in network.state_dict() if CLASS_LAYERS in name]
    adapted: dict[str, Any] = {"network_weights": fitted, "trainer_name": checkpoint.get("trainer_name")}
    if provenance := stored_provenance(checkpoint):
        adapted["init_args"] = {KEY: provenance.as_dict()}
    with atomic_file(out) as partial:
        torch.save(adapted, partial)
    return report


def _check_same_parts(path: Path, weights: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Refuse networks of which one has parts (FacT, LoRA, adapters, blocks) that the other lacks."""
    missing = [name for name in own if name not in weights]
    surplus = [name for name in weights if name not in own and CLASS_LAYERS not in name]
    if missing or surplus:
        lacks = [f"lacks {len(missing)} tensors that the new network has ({missing[0]}, …)"] * bool(missing)
        has = [f"has {len(surplus)} tensors that the new network lacks ({surplus[0]}, …)"] * bool(surplus)
        raise CheckpointError(
            f"{path}: {' and '.join(lacks + has)}. Only classes, channels and image size may differ: take plans with "
            "the checkpoint's vit, fact_rank, lora_rank, adapter_channels and decoder_doublings (they stand in the "
            "plans.json beside its fold)"
        )
