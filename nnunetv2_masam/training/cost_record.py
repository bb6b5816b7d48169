"""Write what a training took to ``masam_cost.json`` beside its checkpoints, for ``nnUNetv2_masam compare``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from nnunetv2_masam.files import write_json


def write_cost(folder: Path, network: nn.Module, device: torch.device) -> None:
    """Write the numbers of parameters, all and trained, and the peak memory."""
    total, trained = parameter_counts(network)
    cost = {"parameters": total, "trained_parameters": trained, "peak_memory_bytes": peak_memory(device)}
    write_json(folder / "masam_cost.json", cost)


def parameter_counts(network: nn.Module) -> tuple[int, int]:
    """All parameters, and those that are trained."""
    parameters = list(network.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that were in use: allocated on a GPU, resident on a CPU; None where the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
