"""A trainer's counterpart without pretrained weights: the same network, data and number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from nnunetv2_masam.architecture import DEFAULTS
from nnunetv2_masam.catalogue import class_names, find_trainer, trainers_folder
from nnunetv2_masam.nnunet_files import read_dataset_json
from nnunetv2_masam.plans_file import read_plans

SUFFIX = "_scratch"  # of a counterpart's name
_trainer = lru_cache(find_trainer)  # nnU-Net's lookup imports all of its trainers each time


def is_pretrained(trainer: type[Any]) -> bool:
    """Whether a recipe starts from pretrained weights by itself."""
    return bool(getattr(trainer, "needs_pretrained_weights", False))


def counterpart_of(name: str) -> str | None:
    """The trainer that trains what ``name`` trains from random weights: ``name`` and ``_scratch``.

    Returns:
        its name; None where ``name`` starts from random weights itself.

    Raises:
        ValueError: there is no such trainer, or it is no counterpart of ``name``.
    """
    trainer = _trainer(name)
    if not is_pretrained(trainer):
        return None
    counterpart_name = f"{name}{SUFFIX}"
    try:
        counterpart = _trainer(counterpart_name)
    except ValueError as error:
        known = [n.removesuffix(SUFFIX) for n in class_names(trainers_folder()) if n.endswith(SUFFIX)]
        raise ValueError(
            f"--from-scratch: {name} starts from pretrained weights and has no counterpart without: there is no "
            f"trainer {counterpart_name}. These have one: {', '.join(known)}. Leave {name} out, or write one as "
            f"trainers/nnUNetTrainerMASAM_scratch.py has it"
        ) from error
    if is_pretrained(counterpart) or _network_of(counterpart) != _network_of(trainer):
        raise ValueError(
            f"--from-scratch: {counterpart_name} is no counterpart of {name}: expected the same rules but for "
            "arch_kwargs['trainable'], and needs_pretrained_weights = False"
        )
    return counterpart_name


def find_counterparts(
    trainers: Sequence[str], preprocessed: Path, plans_name: str, configuration: str, fine_tuned: bool
) -> dict[str, str]:
    """Pretrained trainer → its counterpart, for all of ``trainers`` that are pretrained.

    Args:
        trainers: class names.
        preprocessed: the dataset's folder with the plans.
        plans_name: name of the plans.
        configuration: of the plans.
        fine_tuned: the trainers start from a checkpoint that the user gives.

    Raises:
        ValueError: none is pretrained, one has no counterpart, or the two would see different inputs.
    """
    found = {trainer: counterpart_of(trainer) for trainer in trainers}
    if fine_tuned and (others := [trainer for trainer, counterpart in found.items() if counterpart is None]):
        raise ValueError(
            f"--from-scratch with --pretrained-weights: {', '.join(others)} would be trained with the checkpoint and "
            "without it, and nnU-Net keeps both in the same folder. Train it without --pretrained-weights under "
            "another name: a subclass of it"
        )
    counterparts = {trainer: counterpart for trainer, counterpart in found.items() if counterpart is not None}
    if not counterparts:
        raise ValueError(
            f"--from-scratch: got {', '.join(trainers)}, expected a trainer that starts from pretrained weights. "
            "Leave the option out"
        )
    plans_file = preprocessed / f"{plans_name}.json"
    if plans_file.is_file():  # else the first training says what is missing
        plans, dataset_json = read_plans(plans_file), read_dataset_json(preprocessed)
        for trainer, counterpart in counterparts.items():
            check_same_input(trainer, counterpart, plans, configuration, dataset_json)
    return counterparts


def describe_pair(name: str, counterpart: str) -> str:
    """For a reader of the comparison: what the two models share, and what differs besides the weights."""
    pretrained, scratch = _trainer(name), _trainer(counterpart)
    trained = pretrained.rules.arch_kwargs.get("trainable", DEFAULTS.trainable)
    z_scores = "" if "input_range" not in scratch.rules.arch_kwargs else ", on nnU-Net's z-scores as they are"
    return (
        f"{name} and {counterpart} have the same network, plans, folds, number of steps and batch size. {name} starts "
        f"from pretrained weights, with trainable={trained!r}, learning rate {pretrained.base_lr:g} and weight decay "
        f"{pretrained.weight_decay_masam:g}; {counterpart} starts from random weights and trains everything, with "
        f"learning rate {scratch.base_lr:g} and weight decay {scratch.weight_decay_masam:g}{z_scores}. "
        "The difference is that of the two recipes"
    )


def check_same_input(
    name: str, counterpart: str, plans: Mapping[str, Any], configuration: str, dataset_json: Any
) -> None:
    """Refuse plans that give a recipe and its counterpart different patches or network inputs.

    Training everything takes more memory, for which a small target can cost pixels.

    Raises:
        ValueError: they differ, or one of the two cannot be trained on the plans.
    """
    inputs = []
    for trainer in (name, counterpart):
        planned = _trainer(trainer).planned(deepcopy(dict(plans)), configuration, dataset_json)
        found = planned["configurations"][configuration]
        image_size = found["architecture"]["arch_kwargs"]["image_size"]
        inputs.append((found["training_patch_size"], list(image_size), found["batch_size"]))
    if inputs[0] != inputs[1]:
        raise ValueError(
            f"--from-scratch: the plans give {name} patch, network input and batch size {inputs[0]} and {counterpart} "
            f"{inputs[1]}, expected the same for both: it needs a larger memory target than {counterpart} has. Raise "
            "vram_gb in the rules of subclasses of both"
        )


def _network_of(trainer: type[Any]) -> Any:
    """The recipe's rules without what is trained and the range of values that pretrained weights were trained on."""
    free = ("trainable", "input_range")
    kept = {name: value for name, value in trainer.rules.arch_kwargs.items() if name not in free}
    return replace(trainer.rules, arch_kwargs=kept)
