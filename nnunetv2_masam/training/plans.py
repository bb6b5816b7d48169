"""Make the plans that a recipe trains on from nnU-Net's, or check MA-SAM's own."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_results
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunetv2_masam.architecture import DEFAULTS, PATCH_SIZE, complete_arguments, resolve_vit
from nnunetv2_masam.planning import (
    MIN_SLICES,
    PlanningRules,
    check_whole_numbers,
    plan_configuration,
)
from nnunetv2_masam.plans_file import is_masam_configuration, read_plans


def plans_for_training(
    plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any], rules: PlanningRules, trainer: str
) -> dict[str, Any]:
    """``plans`` with ``configuration`` resolved and, unless it is MA-SAM's already, re-planned.

    A training that is continued keeps the configuration that it was started with, which stands beside the model.

    Args:
        plans: content of a plans file, with nnU-Net's ``continue_training`` in it where a training starts.
        trainer: the recipe's name, for messages and to find what it trained before.

    Raises:
        ValueError: there is no such configuration, or it is MA-SAM's and cannot be trained by this recipe.
    """
    available = plans["configurations"]
    if configuration not in available:
        raise ValueError(
            f"configuration {configuration!r} is not in the plans {plans['plans_name']!r}, which have "
            f"{', '.join(available)}. Train one of these, or plan again (nnUNetv2_plan_and_preprocess)"
        )
    plans = deepcopy(plans)
    manager = PlansManager(plans)
    resolved = manager.get_configuration(configuration).configuration
    if plans.get("continue_training"):
        resolved = _stored_configuration(plans, configuration, trainer) or resolved
    if is_masam_configuration(resolved):
        _check(resolved, plans["plans_name"], rules, trainer)
    else:
        heads = manager.get_label_manager(dataset_json).num_segmentation_heads
        resolved = plan_configuration(resolved, rules, heads)
    resolved.pop("inherits_from", None)
    plans["configurations"][configuration] = resolved
    return plans


def training_configuration(configuration: ConfigurationManager) -> ConfigurationManager:
    """With the patch that training draws; the plans' ``patch_size`` is that of prediction, which takes more slices."""
    values = configuration.configuration
    return ConfigurationManager({**values, "patch_size": list(values.get("training_patch_size", values["patch_size"]))})


def _stored_configuration(plans: dict[str, Any], configuration: str, trainer: str) -> dict[str, Any] | None:
    """The configuration beside the model, if there is one."""
    if not nnUNet_results.is_set():
        return None
    name = f"{trainer}__{plans['plans_name']}__{configuration}"
    stored = Path(str(nnUNet_results)) / plans["dataset_name"] / name / "plans.json"
    if not stored.is_file():
        return None
    found: dict[str, Any] | None = read_plans(stored)["configurations"].get(configuration)
    return found


def _check(configuration: dict[str, Any], plans_name: str, rules: PlanningRules, trainer: str) -> None:
    """Refuse plans that the recipe cannot train, before anything is computed."""
    known = asdict(DEFAULTS)
    if unknown := [name for name in configuration["architecture"]["arch_kwargs"] if name not in known]:
        raise ValueError(
            f"the plans {plans_name!r} have architecture.arch_kwargs.{unknown[0]}, expected arguments of the network: "
            f"{', '.join(known)}. Correct or remove that key"
        )
    check_whole_numbers(configuration, plans_name)
    vit = configuration["architecture"]["arch_kwargs"].get("vit", DEFAULTS.vit)
    encoder = configuration["architecture"]["arch_kwargs"].get("encoder", DEFAULTS.encoder)
    if encoder != rules.encoder:
        raise ValueError(
            f"the plans {plans_name!r} are for the encoder {encoder!r}, {trainer} trains {rules.encoder!r}. Train on "
            f"nnU-Net's plans, or write fitting ones with nnUNetv2_masam plan -tr {trainer}"
        )
    if encoder == DEFAULTS.encoder and resolve_vit(vit) != resolve_vit(rules.vit):
        raise ValueError(
            f"the plans {plans_name!r} are for the ViT {vit!r}, {trainer} trains {rules.vit!r}. Train on "
            f"nnU-Net's plans, or write fitting ones with nnUNetv2_masam plan -tr {trainer}"
        )
    name = "training_patch_size" if "training_patch_size" in configuration else "patch_size"
    patch, tile = configuration[name], configuration["patch_size"]
    token = resolve_vit(vit).stride if encoder == DEFAULTS.encoder else PATCH_SIZE
    if min(patch[-2:]) < token:
        raise ValueError(
            f"the plans {plans_name!r} have a patch of {tuple(patch)} voxels, which in plane is smaller than one token "
            f"of {token} x {token}. Set both in-plane sides of {name} to {token} or more (nnU-Net pads smaller images "
            "to the patch)"
        )
    if len(patch) == 3 and patch[0] < MIN_SLICES:
        raise ValueError(
            f"the plans {plans_name!r} have a patch of {patch[0]} slices; nnU-Net's augmentation needs at least "
            f"{MIN_SLICES}. Set the first number of {name} to 5, or train the configuration 2d"
        )
    if list(patch[-2:]) != list(tile[-2:]):
        raise ValueError(
            f"the plans {plans_name!r} train on patches of {tuple(patch)} voxels and predict by {tuple(tile)}; in "
            "plane both must be the same, because both are resized to the network's input. Set the last two numbers of "
            "training_patch_size and patch_size alike"
        )
    batch, micro_batch = configuration["batch_size"], configuration.get("micro_batch_size", 0)
    if micro_batch < 1 or batch < 1:
        raise ValueError(
            f"the plans {plans_name!r} have batch_size {batch} and micro_batch_size {micro_batch or 'missing'}; both "
            "must be at least 1 (the effective batch size, and the samples of one forward pass)"
        )
    _check_what_the_recipe_changes(configuration, plans_name, rules, trainer)


def _check_what_the_recipe_changes(
    configuration: dict[str, Any], plans_name: str, rules: PlanningRules, trainer: str
) -> None:
    """Refuse plans of another network than the recipe is named for: an ablation would train what it leaves out."""
    planned = complete_arguments(configuration["architecture"]["arch_kwargs"])
    wanted = dict(rules.arch_kwargs)
    patch = configuration.get("training_patch_size", configuration["patch_size"])
    if len(patch) == 3 and rules.slices != PlanningRules.slices:
        planned["slices"], wanted["slices"] = patch[0], rules.slices
    differing = [name for name, value in wanted.items() if planned[name] != value]
    if differing:
        got = ", ".join(f"{name} {planned[name]!r}" for name in differing)
        expected = ", ".join(f"{name} {wanted[name]!r}" for name in differing)
        raise ValueError(
            f"the plans {plans_name!r} have {got}; {trainer} trains {expected}. Train on nnU-Net's plans, write "
            f"fitting ones with nnUNetv2_masam plan -tr {trainer} -overwrite_plans_name NAME, or take a trainer that "
            "leaves this to the plans"
        )
