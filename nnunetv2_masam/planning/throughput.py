"""What limits a training: the GPU's arithmetic or the augmentation on CPU cores. Both are predictions.

The GPU's part counts operations (:mod:`~nnunetv2_masam.planning.cost`) and assumes that it sustains 30 % of its dense
bfloat16 peak. The CPU's part is a rule fitted to ``benchmarks/results/augmentation-cpu.json``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunetv2_masam.planning.cost import training_flops

# dense bfloat16 peak in TFLOP/s, by NVIDIA's data sheets
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "RTX 4090": 165.0, "RTX 3090": 71.0}
SUSTAINED_SHARE = 0.3  # an assumption, not a measurement

# core-seconds for a million voxels of nnU-Net's augmentation
_PER_CHANNEL_S = 0.0118
_PER_LABEL_S = 0.0023


@dataclass(frozen=True)
class StepCost:
    """What one optimiser step takes.

    Attributes:
        tflop: operations of the network, in 10¹².
        augmentation_core_s: core-seconds of augmentation.
    """

    tflop: float
    augmentation_core_s: float

    def gpu_s(self, peak_tflops: float) -> float:
        """Seconds on a GPU of this bfloat16 peak, in TFLOP/s."""
        return self.tflop / (peak_tflops * SUSTAINED_SHARE)

    def workers(self, peak_tflops: float) -> int:
        """Processes for data loading that keep such a GPU busy."""
        return math.ceil(self.augmentation_core_s / self.gpu_s(peak_tflops))


def step_cost(configuration: Mapping[str, Any], num_classes: int) -> StepCost:
    """The cost of a step by a configuration of MA-SAM's plans.

    Args:
        configuration: as :func:`~nnunetv2_masam.planning.plan_configuration` returns it.
        num_classes: K, output channels.
    """
    patch = configuration.get("training_patch_size", configuration["patch_size"])
    channels = max(1, len(configuration.get("normalization_schemes", ())))
    slices = 1 if len(patch) == 2 else patch[0]
    samples = configuration["batch_size"]
    flop = samples * training_flops(configuration["architecture"]["arch_kwargs"], slices, num_classes, channels)
    return StepCost(flop / 1e12, samples * augmentation_core_s(patch, channels, num_classes))


def augmentation_core_s(patch: Sequence[int], channels: int, num_classes: int) -> float:
    """Core-seconds of nnU-Net's augmentation for a sample whose slices are rotated in plane.

    Args:
        patch: voxels along each axis.
        channels: C.
        num_classes: K; background is among them.
    """
    return math.prod(patch) / 1e6 * (_PER_CHANNEL_S * channels + _PER_LABEL_S * num_classes)


def describe_limits(configuration: Mapping[str, Any], num_classes: int) -> str:
    """Sentences on what a step takes, on GPUs of several kinds, and on slices that are larger than need be."""
    cost = step_cost(configuration, num_classes)
    lines = [
        f"A step of {configuration['batch_size']} samples takes {two_digits(cost.tflop)} TFLOP and "
        f"{two_digits(cost.augmentation_core_s)} core-seconds of augmentation. Predicted, at {SUSTAINED_SHARE:.0%} of "
        "the GPU's peak:"
    ]
    for name, peak in PEAK_TFLOPS.items():
        workers = cost.workers(peak)
        keep = "data worker keeps" if workers == 1 else "data workers keep"
        lines.append(
            f"  {name:<8}  {two_digits(cost.gpu_s(peak)):>5} s, {workers} {keep} it busy (nnUNet_n_proc_DA={workers})"
        )
    if hint := coarser_hint(configuration):
        lines.append(hint)
    return "\n".join(lines)


def predict_limit(configuration: Mapping[str, Any], num_classes: int, workers: int, gpu: str | None) -> str:
    """A sentence for the training log: what a step takes, and whether data or GPU are predicted to limit it.

    Args:
        configuration: with the batch size of this process.
        num_classes: K, output channels.
        workers: processes that augment; 0 is the training's own.
        gpu: name of the GPU; None for other devices.
    """
    cost = step_cost(configuration, num_classes)
    data_s = cost.augmentation_core_s / max(1, workers)
    text = (
        f"Predicted for a step of {configuration['batch_size']} samples: {two_digits(cost.tflop)} TFLOP of network, "
        f"{two_digits(cost.augmentation_core_s)} core-seconds of augmentation, {two_digits(data_s)} s with "
        f"{workers or 'no'} data workers"
    )
    peak = next((peak for name, peak in PEAK_TFLOPS.items() if gpu is not None and name in gpu), None)
    if peak is None:
        return f"{text}. How fast this device computes is not known, so no limit is predicted"
    gpu_s = cost.gpu_s(peak)
    text += f"; {two_digits(gpu_s)} s on {gpu} at {SUSTAINED_SHARE:.0%} of its peak"
    if gpu_s >= data_s and workers:
        return f"{text}. The GPU will limit it"
    return f"{text}. The data will limit it; {cost.workers(peak)} workers balance both (nnUNet_n_proc_DA)"


def two_digits(value: float) -> str:
    """``value`` with two significant digits, and all digits before the point: 0.051, 3.2, 70."""
    decimals = max(0, 1 - math.floor(math.log10(value))) if value > 0 else 1
    return f"{value:.{decimals}f}"


def coarser_hint(configuration: Mapping[str, Any]) -> str | None:
    """What to do where a patch has many more voxels in plane than the network's input has pixels; None elsewhere."""
    patch = configuration["training_patch_size"][-2:]
    pixels = configuration["architecture"]["arch_kwargs"]["image_size"]
    factor = max(side / wanted for side, wanted in zip(patch, pixels, strict=True))
    if factor < 1.5:
        return None
    spacing = [float(mm) * factor for mm in configuration["spacing"][-2:]]
    return (
        f"The patch has {patch[0]} x {patch[1]} voxels in plane, and the network sees it at {pixels[0]} x {pixels[1]} "
        f"pixels: loading and augmenting cost {factor**2:.1f} times what is needed. Reduce the images once, before "
        f"training: frames with `convert ... --longest-side {max(pixels)}`, volumes by planning with an in-plane "
        f"spacing of {spacing[0]:.3g} x {spacing[1]:.3g} (-overwrite_target_spacing of nnUNetv2_plan_experiment)"
    )
