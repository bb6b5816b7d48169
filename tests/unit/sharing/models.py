"""Small model folders as nnU-Net leaves them, after a training that changed all that is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.weights import identify, load_sam_checkpoint
from nnunetv2_masam.weights.provenance import KEY
from tests.plans import plans_with


def write_model(folder: Path, arch_kwargs: dict[str, Any], sam: Path, folds: int = 1, **content: Any) -> Path:
    """Write plans, dataset.json and the checkpoint of each fold, with ``content`` besides the weights."""
    network = MASAM(1, 3, **arch_kwargs)
    load_sam_checkpoint(network, sam)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    init_args = {"configuration": "3d_fullres", "device": torch.device("cpu"), KEY: identify(sam).as_dict()}
    checkpoint = {"network_weights": network.state_dict(), "init_args": init_args, "trainer_name": "any", **content}
    for fold in range(folds):
        (folder / f"fold_{fold}" / "validation").mkdir(parents=True)
        (folder / f"fold_{fold}" / "validation" / "summary.json").write_text("{}")
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    architecture = {"network_class_name": "nnunetv2_masam.network.MASAM", "arch_kwargs": arch_kwargs}
    (folder / "plans.json").write_text(json.dumps(plans_with(architecture)))
    (folder / "dataset.json").write_text("{}")
    return folder


def weights_of(folder: Path, fold: int = 0) -> dict[str, Any]:
    return torch.load(folder / f"fold_{fold}" / "checkpoint_final.pth", weights_only=False)["network_weights"]


def arguments_of(folder: Path) -> dict[str, Any]:
    """Of the network, as the plans have them."""
    plans = json.loads((folder / "plans.json").read_text())
    return plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]


def network_of(folder: Path) -> MASAM:
    network = MASAM(1, 3, **arguments_of(folder))
    network.load_state_dict(weights_of(folder))
    return network.eval()


def bits(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[Any, ...]]:
    """Type, shape and bytes of each tensor."""
    return {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}
