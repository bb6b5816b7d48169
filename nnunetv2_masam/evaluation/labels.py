"""What is compared: the labels or regions of a ``dataset.json``, as nnU-Net's label manager sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


@dataclass(frozen=True)
class Structure:
    """One label or region, with the values that mean it in the reference and in the prediction.

    Attributes:
        name: its name in ``dataset.json``.
        key: its key in nnU-Net's ``summary.json``, such as ``"1"`` or ``"(1, 2)"``.
        reference_values: label values that make it up in the reference.
        prediction_values: label values that make it up in the prediction.
    """

    name: str
    key: str
    reference_values: tuple[int, ...]
    prediction_values: tuple[int, ...]


@dataclass(frozen=True)
class LabelScheme:
    """The labels of one data set.

    Attributes:
        structures: foreground labels, or regions where the data set has regions, in nnU-Net's order.
        defined_values: every label value that may occur, background included, ignore label excluded.
        ignore_label: the value of voxels that do not count, if there is one.
    """

    structures: tuple[Structure, ...]
    defined_values: frozenset[int]
    ignore_label: int | None


def read_label_scheme(dataset_json: Mapping[str, Any], plans: Mapping[str, Any] | None = None) -> LabelScheme:
    """Read the labels of a data set with nnU-Net's label manager, the plans' one where there are plans."""
    if plans is not None:
        manager = PlansManager(dict(plans)).get_label_manager(dict(dataset_json))
    else:
        manager = LabelManager(dataset_json["labels"], dataset_json.get("regions_class_order"))
    names = {_as_tuple(value): name for name, value in dataset_json["labels"].items()}
    found = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    structures = []
    for label_or_region in found:
        values = _as_tuple(label_or_region)
        key = (
            str(tuple(label_or_region))
            if isinstance(label_or_region, (tuple, list))
            else str(label_or_region)
        )
        structures.append(Structure(names.get(values, key), key, values, values))
    return LabelScheme(
        tuple(structures), frozenset(int(value) for value in manager.all_labels), manager.ignore_label
    )


def _as_tuple(label_or_region: Any) -> tuple[int, ...]:
    if isinstance(label_or_region, (tuple, list)):
        return tuple(int(value) for value in label_or_region)
    return (int(label_or_region),)
