"""A SAM checkpoint for a small ViT, of random values."""

from __future__ import annotations

from pathlib import Path

import torch

from nnunetv2_masam.network import MASAM


def write_sam_file(path: Path, vit: dict, side: int = 64, seed: int = 0) -> Path:
    """Write a checkpoint with SAM's names, for three channels and images of ``side`` pixels."""
    torch.manual_seed(seed)
    network = MASAM(3, 1, vit=vit, image_size=(side, side), decoder_doublings=2)
    added = {name for name, _ in network.adapter_parameters()}
    tensors = {
        name: torch.randn_like(tensor) * 0.05 if tensor.is_floating_point() and "running_var" not in name else tensor
        for name, tensor in network.state_dict().items()
        if name not in added and ".seg_layers." not in name
    }
    torch.save(tensors, path)
    return path
