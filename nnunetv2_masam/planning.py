"""From a baseline's configuration to MA-SAM's: patch, network input and batch. Numbers in, numbers out.

The baseline (``nnUNetPlans``, a ResEnc plan, any other) has decided spacing, normalisation and resampling, and its
preprocessed data are used as they are. What is decided here:

- the patch: ``slices`` slices of the median in-plane extent, so that one pass sees whole slices;
- the network's input: the patch enlarged by at most ``max_upsampling`` and at most to ``max_image_side``, because SAM's
  tokens are 16 pixels wide and small structures need several;
- samples a step, and how many of them at once (``micro_batch_size``) so that the memory target holds.

``nnUNetv2_masam plan`` and the trainers, which plan in memory for plans that are not ours, both call
:func:`plan_configuration`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

from nnunetv2_masam.network.presets import EMBEDDING_CHANNELS, PATCH_SIZE, WINDOW_SIZE, ViTSize, resolve_vit

NETWORK_CLASS = "nnunetv2_masam.network.MASAM"
PLANS_NAME = "nnUNetMASAMPlans"
_GB = 1024**3


@dataclass(frozen=True)
class PlanningRules:
    """What a recipe asks of its plans.

    Attributes:
        vit: preset or sizes of the image encoder.
        slices: D, slices of a patch.
        batch_size: samples a step.
        vram_gb: memory target of one GPU in GB, where the user gives none. nnU-Net's own default is 8.
        max_image_side: longest side of the network's input, pixels.
        max_upsampling: most pixels of network input for one voxel, along a side.
        max_patch_side: longest in-plane side of a patch, voxels.
        image_size: fixed network input; None follows the patch.
        arch_kwargs: further arguments of the network.
    """

    vit: str | Mapping[str, Any] = "vit_b"
    slices: int = 5
    batch_size: int = 24
    vram_gb: float = 8.0
    max_image_side: int = 512
    max_upsampling: float = 4.0
    max_patch_side: int = 512
    image_size: tuple[int, int] | None = None
    arch_kwargs: Mapping[str, Any] = field(default_factory=dict)


def is_masam_configuration(configuration: Mapping[str, Any]) -> bool:
    """Whether a resolved configuration was written by :func:`plan_configuration` (or by hand after its pattern)."""
    return configuration.get("architecture", {}).get("network_class_name") == NETWORK_CLASS


def plan_configuration(
    configuration: Mapping[str, Any], rules: PlanningRules, num_classes: int, vram_gb: float | None = None
) -> dict[str, Any]:
    """A baseline's configuration, re-planned for MA-SAM.

    Args:
        configuration: one of a plans file's configurations, with inheritance resolved.
        rules: what the recipe asks for.
        num_classes: K, output channels, for the memory estimate.
        vram_gb: memory target of one GPU in GB; None takes the recipe's.

    Returns:
        A new configuration: ``patch_size``, ``batch_size``, ``batch_dice`` and ``architecture`` replaced;
        ``micro_batch_size`` and ``predicted_vram_gb`` added; all else as it was, ``data_identifier`` above all.

    Raises:
        ValueError: even a single sample is too large for the memory target.
    """
    median_shape = [max(1, round(float(n))) for n in configuration["median_image_size_in_voxels"]]
    is_2d = len(configuration["patch_size"]) == 2
    in_plane, image_size = plan_in_plane(median_shape[-2:], rules)
    slices = 1 if is_2d else min(rules.slices, median_shape[0])
    arch_kwargs = {"vit": _json_ready(rules.vit), "image_size": list(image_size), **deepcopy(dict(rules.arch_kwargs))}
    arch_kwargs, micro_batch_size = plan_memory(
        arch_kwargs, slices, num_classes, rules.batch_size, rules.vram_gb if vram_gb is None else vram_gb
    )
    planned = deepcopy(dict(configuration))
    planned.update(
        patch_size=list(in_plane) if is_2d else [slices, *in_plane],
        batch_size=rules.batch_size,
        micro_batch_size=micro_batch_size,
        predicted_vram_gb=round(estimate_vram_gb(arch_kwargs, micro_batch_size * slices, num_classes), 2),
        batch_dice=True,
        architecture={
            "network_class_name": NETWORK_CLASS,
            "arch_kwargs": arch_kwargs,
            "_kw_requires_import": [],
        },
    )
    return planned


def replan(
    plans: Mapping[str, Any], rules: PlanningRules, num_classes: int, vram_gb: float | None = None
) -> dict[str, Any]:
    """A baseline's plans with every configuration that defines a patch re-planned; those that inherit go on to.

    Args:
        plans: the content of a plans file.
        rules, num_classes, vram_gb: see :func:`plan_configuration`.
    """
    planned = deepcopy(dict(plans))
    for name, configuration in planned["configurations"].items():
        if "patch_size" in configuration:
            planned["configurations"][name] = plan_configuration(configuration, rules, num_classes, vram_gb)
    return planned


def plan_in_plane(median_extent: Sequence[int], rules: PlanningRules) -> tuple[tuple[int, int], tuple[int, int]]:
    """In-plane patch (voxels) and network input (pixels) for a median in-plane extent (voxels).

    The enlargement is the same along both sides; the patch is rounded up to voxels that fill whole tokens, so that it
    is not distorted.
    """
    patch = [min(max(side, PATCH_SIZE), rules.max_patch_side) for side in median_extent]
    if rules.image_size is not None:
        return (patch[0], patch[1]), rules.image_size
    factor = min(rules.max_upsampling, rules.max_image_side / max(patch))
    tokens = [max(1, math.ceil(side * factor / PATCH_SIZE)) for side in patch]
    tokens = [min(n, rules.max_image_side // PATCH_SIZE) for n in tokens]
    image_size = tuple(n * PATCH_SIZE for n in tokens)
    patch = [
        min(max(side, round(pixels / factor)), rules.max_patch_side)
        for side, pixels in zip(patch, image_size, strict=True)
    ]
    return (patch[0], patch[1]), (image_size[0], image_size[1])


def plan_memory(
    arch_kwargs: Mapping[str, Any], slices: int, num_classes: int, batch_size: int, vram_gb: float
) -> tuple[dict[str, Any], int]:
    """The network's arguments and the largest divisor of ``batch_size`` that fit ``vram_gb``.

    Gradient checkpointing, which costs about a third more time, is switched on where one sample does not fit without.

    Raises:
        ValueError: not even one sample fits.
    """
    divisors = [n for n in range(batch_size, 0, -1) if batch_size % n == 0]
    checkpointed = {**arch_kwargs, "gradient_checkpointing": True}
    for candidate in (dict(arch_kwargs), checkpointed):
        for micro_batch_size in divisors:
            if estimate_vram_gb(candidate, micro_batch_size * slices, num_classes) <= vram_gb:
                return candidate, micro_batch_size
    needed = estimate_vram_gb(checkpointed, slices, num_classes)
    raise ValueError(
        f"a GPU memory target of {vram_gb:g} GB is too small: one sample of {slices} slices at "
        f"{tuple(arch_kwargs['image_size'])} pixels with {arch_kwargs['vit']} needs about {needed:.1f} GB, gradient "
        "checkpointing included. Take a smaller ViT (another trainer) or a larger -gpu_memory_target"
    )


def count_parameters(
    vit: ViTSize, num_classes: int, image_size: Sequence[int], fact_rank: int, adapter_channels: int
) -> tuple[int, int]:
    """(all, adaptation and decoder) parameters of a one-channel network, by formula."""
    e, a, r = vit.embed_dim, adapter_channels, fact_rank
    tokens = math.prod(side // PATCH_SIZE for side in image_size)
    block = 12 * e * e + 13 * e
    adapters = 2 * (2 * e * a + 3 * a * a + a + 2 * e) if a else 0
    encoder = vit.depth * block + e * (PATCH_SIZE**2 + 1 + tokens) + EMBEDDING_CHANNELS * (e + 9 * EMBEDDING_CHANNELS)
    adaptation = vit.depth * (adapters + 2 * r * r) + 2 * r * e
    decoder = 3_400_000 + 133_000 * num_classes
    return encoder + adaptation + decoder, adaptation + decoder


def estimate_vram_gb(arch_kwargs: Mapping[str, Any], slices_at_once: int, num_classes: int) -> float:
    """Peak memory of a training step in GB, in mixed precision.

    Args:
        arch_kwargs: the network's arguments.
        slices_at_once: N = B·D of a micro-batch.
        num_classes: K.
    """
    vit = resolve_vit(arch_kwargs["vit"])
    image_size = arch_kwargs["image_size"]
    a = arch_kwargs.get("adapter_channels", 384)
    total, adapted = count_parameters(vit, num_classes, image_size, arch_kwargs.get("fact_rank", 32), a)
    trained = total if arch_kwargs.get("trainable") == "all" else adapted
    state_bytes = 4 * total + 12 * trained + 2 * total  # weights, gradients and AdamW's moments, half-precision copies
    grid = [side // PATCH_SIZE for side in image_size]
    tokens = math.prod(grid)
    windows = math.prod(math.ceil(g / WINDOW_SIZE) for g in grid)
    block = tokens * (17 * vit.embed_dim + 6 * a) + windows * vit.num_heads * WINDOW_SIZE**4
    inside = block if arch_kwargs.get("gradient_checkpointing") else block * vit.depth
    pixels = math.prod(image_size)
    decoder = pixels * (70 + 6 * num_classes) + tokens * 40 * EMBEDDING_CHANNELS
    activation_bytes = 2 * (inside + vit.depth * tokens * vit.embed_dim) + 4 * decoder
    return (state_bytes + slices_at_once * activation_bytes) / _GB


def _json_ready(vit: str | Mapping[str, Any]) -> str | dict[str, Any]:
    if isinstance(vit, str):
        return vit
    sizes = asdict(resolve_vit(vit))
    sizes["global_attn_indexes"] = list(sizes["global_attn_indexes"])
    return sizes
