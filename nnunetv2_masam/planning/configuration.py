"""A configuration of nnU-Net's plans, re-planned for MA-SAM."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from typing import Any

from nnunetv2_masam.architecture import DEFAULTS, resolve_vit
from nnunetv2_masam.planning.fit import Task, fit_memory
from nnunetv2_masam.planning.rules import PlanningRules
from nnunetv2_masam.planning.tile_depth import prediction_slices
from nnunetv2_masam.plans_file import NETWORK_CLASS, resolved_configuration

_SIZES = ("patch_size", "training_patch_size", "batch_size", "micro_batch_size")
# arguments of the network that are no counts
_OTHERS = {"encoder", "vit", "prompt", "trainable", "gradient_checkpointing", "half_turn", "rel_pos"}
_OTHERS |= {"fact_scale", "fact_dropout", "input_range"}


def check_whole_numbers(configuration: Mapping[str, Any], plans_name: str) -> None:
    """Refuse a MA-SAM configuration, edited by hand, in which a size or a count is no integer.

    Raises:
        ValueError: the message names the plans, the key and the value.
    """
    arch_kwargs = configuration["architecture"].get("arch_kwargs", {})
    vit = arch_kwargs.get("vit")
    groups = {
        "": {key: configuration[key] for key in _SIZES if key in configuration},
        "architecture.arch_kwargs.": arch_kwargs,
        "architecture.arch_kwargs.vit.": vit if isinstance(vit, Mapping) else {},
    }
    for prefix, values in groups.items():
        for key in sorted(values.keys() - _OTHERS):
            numbers = values[key] if isinstance(values[key], (list, tuple)) else [values[key]]
            if values[key] is not None and not all(type(number) is int for number in numbers):
                raise ValueError(
                    f"the plans {plans_name!r} have {prefix}{key}: {values[key]!r}, expected integers (5, not 5.0 or "
                    "4.5). Correct that key"
                )


def plan_configuration(
    configuration: Mapping[str, Any], rules: PlanningRules, num_classes: int, vram_gb: float | None = None
) -> dict[str, Any]:
    """A configuration of nnU-Net's plans, re-planned for MA-SAM.

    Args:
        configuration: one of a plans file's configurations, with inheritance resolved.
        rules: what the recipe asks for.
        num_classes: K, output channels, for the memory estimate.
        vram_gb: memory target of one GPU in GB; None takes the recipe's.

    Returns:
        A new configuration: ``patch_size``, ``batch_size``, ``batch_dice`` and ``architecture`` replaced;
        ``training_patch_size``, ``micro_batch_size`` and ``predicted_vram_gb`` added; all else as it was,
        ``data_identifier`` above all. ``patch_size`` is what nnU-Net's prediction reads, and may have more slices.

    Raises:
        ValueError: even a single sample is too large for the memory target.
    """
    task = task_of(configuration, rules, num_classes)
    target = rules.vram_gb if vram_gb is None else vram_gb
    chosen = fit_memory(task, rules, network_arguments(rules), target)
    training_patch = list(chosen.patch) if task.slices == 1 else [task.slices, *chosen.patch]
    predicted_patch = list(training_patch)
    if task.slices > 1 and not rules.predict_in_stacks:
        median_slices = float(configuration["median_image_size_in_voxels"][0])
        predicted_patch[0] = prediction_slices(median_slices, task, chosen.arch_kwargs, chosen.patch, target)
    planned = deepcopy(dict(configuration))
    planned.update(
        patch_size=predicted_patch,
        training_patch_size=training_patch,
        batch_size=rules.batch_size,
        micro_batch_size=chosen.micro_batch_size,
        predicted_vram_gb=round(chosen.vram_gb, 2),
        batch_dice=True,
        architecture={
            "network_class_name": NETWORK_CLASS,
            "arch_kwargs": chosen.arch_kwargs,
            "_kw_requires_import": [],
        },
    )
    return planned


def replan(
    plans: Mapping[str, Any], rules: PlanningRules, num_classes: int, vram_gb: float | None = None
) -> dict[str, Any]:
    """nnU-Net's plans with every configuration re-planned that defines a patch; others still inherit from it."""
    planned = deepcopy(dict(plans))
    for name, configuration in plans["configurations"].items():
        if "patch_size" in configuration:
            resolved = resolved_configuration(plans["configurations"], name)
            planned["configurations"][name] = plan_configuration(resolved, rules, num_classes, vram_gb)
    return planned


def task_of(configuration: Mapping[str, Any], rules: PlanningRules, num_classes: int) -> Task:
    """Properties of the dataset that a configuration of nnU-Net's plans holds."""
    height, width = (max(1, round(float(n))) for n in configuration["median_image_size_in_voxels"][-2:])
    return Task(
        extent=(height, width),
        slices=1 if len(configuration["patch_size"]) == 2 else rules.slices,
        input_channels=max(1, len(configuration.get("normalization_schemes", ()))),
        num_classes=num_classes,
    )


def network_arguments(rules: PlanningRules) -> dict[str, Any]:
    """The network's arguments that the recipe decides."""
    encoder = {"vit": _json_ready(rules.vit)} if rules.encoder == DEFAULTS.encoder else {"encoder": rules.encoder}
    return {**encoder, **deepcopy(dict(rules.arch_kwargs))}


def _json_ready(vit: str | Mapping[str, Any]) -> str | dict[str, Any]:
    if isinstance(vit, str):
        return vit
    sizes = asdict(resolve_vit(vit))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in sizes.items()}
