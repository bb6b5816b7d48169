"""A plans file, nnU-Net's or ours, checked as it is read."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from nnunetv2_masam.files import read_json

NETWORK_CLASS = "nnunetv2_masam.network.MASAM"
_REMEDY = (
    "Correct that key, or replace the file: plan again (nnUNetv2_plan_experiment, nnUNetv2_masam plan), or copy the "
    "trained model again"
)


def is_masam_configuration(configuration: Mapping[str, Any]) -> bool:
    """Whether a resolved configuration is one for MA-SAM."""
    return configuration.get("architecture", {}).get("network_class_name") == NETWORK_CLASS


def read_plans(path: Path) -> dict[str, Any]:
    """Read a plans file, and check the keys that planning, training and sharing take from it.

    Keys of a configuration may be inherited, as nnU-Net has it (``inherits_from``).

    Raises:
        ValueError: the file cannot be read, or a key is missing or of another form; the message names file, key and
            remedy.
    """
    plans: dict[str, Any] = read_json(path, dict)
    for key in ("dataset_name", "plans_name"):
        _check(path, key, plans, "a name", _is_name)
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or not all(isinstance(value, dict) for value in configurations.values()):
        raise _error(path, "configurations", plans, "an object of objects, as nnU-Net's planner writes it")
    if not configurations:
        raise _error(path, "configurations", plans, "at least one configuration")
    for name in configurations:
        try:
            resolved = resolved_configuration(configurations, name)
        except ValueError as error:
            raise ValueError(f"{path}: {error}. {_REMEDY}") from error
        _check_configuration(path, name, resolved)
    return plans


def resolved_configuration(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A copy of a configuration with what it inherits, and without ``inherits_from``.

    Raises:
        ValueError: it inherits from itself, or from a configuration that is not there.
    """
    chain = [name]
    while (parent := configurations[chain[-1]].get("inherits_from")) is not None:
        if parent in chain or not isinstance(parent, str) or parent not in configurations:
            others = ", ".join(key for key in configurations if key not in chain) or "none"
            raise ValueError(
                f"configurations.{chain[-1]}.inherits_from: got {parent!r}, expected another configuration ({others})"
            )
        chain.append(parent)
    resolved: dict[str, Any] = {}
    for link in reversed(chain):
        resolved.update(deepcopy(dict(configurations[link])))
    resolved.pop("inherits_from", None)
    return resolved


def _check_configuration(path: Path, name: str, configuration: Mapping[str, Any]) -> None:
    prefix = f"configurations.{name}."
    for key in ("patch_size", "median_image_size_in_voxels"):
        _check(path, key, configuration, "a list of two or three positive numbers", _is_size, prefix)
    _check(path, "batch_size", configuration, "a positive number", _is_positive, prefix)
    if "normalization_schemes" in configuration:
        _check(path, "normalization_schemes", configuration, "a list", _is_list, prefix)
    if "architecture" not in configuration and "UNet_class_name" in configuration:
        return  # nnU-Net's older form, which it still reads
    _check(path, "architecture", configuration, "an object", _is_object, prefix)
    architecture, prefix = configuration["architecture"], f"{prefix}architecture."
    _check(path, "network_class_name", architecture, "the name of a class", _is_name, prefix)
    _check(path, "arch_kwargs", architecture, "an object", _is_object, prefix)


def _check(
    path: Path, key: str, values: Mapping[str, Any], expected: str, fits: Callable[[Any], bool], prefix: str = ""
) -> None:
    if not fits(values.get(key)):
        raise _error(path, key, values, expected, prefix)


def _error(path: Path, key: str, values: Mapping[str, Any], expected: str, prefix: str = "") -> ValueError:
    got = f"got {reprlib.repr(values[key])}" if key in values else "missing"
    return ValueError(f"{path}: {prefix}{key}: {got}, expected {expected}. {_REMEDY}")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (2, 3) and all(map(_is_positive, value))
