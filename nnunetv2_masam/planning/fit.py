"""Choose the first plan that fits a memory target: reduce micro-batch size first, then checkpoint, then drop pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nnunetv2_masam.architecture import DEFAULTS
from nnunetv2_masam.planning.in_plane import InPlane, plan_in_plane, smaller_in_plane, token_side
from nnunetv2_masam.planning.memory import MicroBatch, gpu_gb
from nnunetv2_masam.planning.rules import PlanningRules

# Below so many tokens at once, launching kernels takes as long as running them: an estimate for data-centre GPUs.
_BUSY_TOKENS = 4096


@dataclass(frozen=True)
class Task:
    """Properties of a dataset that a plan depends on besides the recipe.

    Attributes:
        extent: median in-plane extent, voxels.
        slices: D, 1 for a 2D configuration.
        input_channels: C.
        num_classes: K.
    """

    extent: tuple[int, int]
    slices: int
    input_channels: int
    num_classes: int


@dataclass(frozen=True)
class Candidate:
    """A plan with its cost.

    Attributes:
        patch: H and W, voxels.
        arch_kwargs: the network's arguments.
        micro_batch_size: samples of a forward pass.
        vram_gb: predicted memory of the GPU.
    """

    patch: tuple[int, int]
    arch_kwargs: dict[str, Any]
    micro_batch_size: int
    vram_gb: float

    @property
    def image_size(self) -> tuple[int, int]:
        """S and S', pixels."""
        height, width = self.arch_kwargs["image_size"]
        return height, width

    @property
    def checkpointing(self) -> bool:
        """Whether every block is computed again in the backward pass."""
        return bool(self.arch_kwargs.get("gradient_checkpointing", DEFAULTS.gradient_checkpointing))


def fit_memory(task: Task, rules: PlanningRules, arch_kwargs: dict[str, Any], vram_gb: float) -> Candidate:
    """The first of :func:`candidates` that fits.

    Raises:
        ValueError: none does, or the target is not a finite number above 0.
    """
    if not 0 < vram_gb < math.inf:
        raise ValueError(f"GPU memory target: got {vram_gb} GB, expected a finite number above 0")
    smallest = None
    for candidate in candidates(task, rules, arch_kwargs):
        if candidate.vram_gb <= vram_gb:
            return candidate
        smallest = candidate
    assert smallest is not None
    encoder = rules.vit if rules.encoder == "sam" else rules.encoder
    fixed = " (fixed by the trainer)" if rules.image_size is not None else ""
    raise ValueError(
        f"a GPU memory target of {vram_gb:g} GB is too small: one sample of {task.slices} slices at "
        f"{smallest.image_size} pixels{fixed} with {encoder} needs about {smallest.vram_gb:.1f} GB, gradient "
        "checkpointing included. Take a smaller ViT (another trainer) or a larger -gpu_memory_target"
    )


def candidates(task: Task, rules: PlanningRules, arch_kwargs: dict[str, Any]) -> Iterator[Candidate]:
    """Yield plans in order of preference, from the fastest at full resolution to the smallest.

    A smaller micro-batch costs nothing as long as it keeps the GPU busy; gradient checkpointing costs half as much time
    again; idle GPUs more; fewer pixels cost accuracy, and are the last resort.
    """
    wanted = plan_in_plane(task.extent, rules)
    tokens = task.slices * math.prod(side // token_side(rules) for side in wanted.image_size)  # of a sample
    enough = min(_BUSY_TOKENS, rules.batch_size * tokens)
    for few in (False, True):
        for checkpointing in _checkpointing(arch_kwargs):
            for samples in divisors(rules.batch_size):
                if (samples * tokens < enough) == few:
                    yield make_candidate(task, wanted, arch_kwargs, samples, checkpointing)
    for smaller in smaller_in_plane(task.extent, rules):
        yield make_candidate(task, smaller, arch_kwargs, 1, True)


def make_candidate(
    task: Task, in_plane: InPlane, arch_kwargs: dict[str, Any], samples: int, checkpointing: bool
) -> Candidate:
    """A plan of these choices, with the memory that it takes."""
    arch_kwargs = {**arch_kwargs, "image_size": list(in_plane.image_size)}
    if checkpointing:
        arch_kwargs["gradient_checkpointing"] = True
    batch = MicroBatch(samples * task.slices, in_plane.patch, task.input_channels, task.num_classes)
    return Candidate(in_plane.patch, arch_kwargs, samples, gpu_gb(arch_kwargs, batch))


def divisors(batch_size: int) -> Sequence[int]:
    """Divisors of ``batch_size``, the largest first: the micro-batch sizes that divide it evenly."""
    return [n for n in range(batch_size, 0, -1) if batch_size % n == 0]


def _checkpointing(arch_kwargs: dict[str, Any]) -> tuple[bool, ...]:
    """Without and with, unless the recipe has decided."""
    if "gradient_checkpointing" in arch_kwargs:
        return (bool(arch_kwargs["gradient_checkpointing"]),)
    return (False, True)
