"""Plans files that are damaged or edited by hand: one error with file, key and remedy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_masam.plans_file import read_plans
from tests.plans import plans_with

UNET = {"network_class_name": "PlainConvUNet", "arch_kwargs": {}}


def write(folder: Path, content: Any) -> Path:
    path = folder / "somePlans.json"
    path.write_text(json.dumps(content))
    return path


def without(key: str, plans: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plans.items() if name != key}


def test_whole_plans_are_returned_as_they_are(tmp_path):
    plans = plans_with(UNET)
    plans["configurations"]["larger"] = {"inherits_from": "3d_fullres", "patch_size": [8, 48, 32]}
    plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "larger", "previous_stage": "3d_lowres"}
    assert read_plans(write(tmp_path, plans)) == plans


def test_the_older_form_has_no_architecture(tmp_path):
    plans = plans_with(UNET, UNet_class_name="PlainConvUNet")
    del plans["configurations"]["3d_fullres"]["architecture"]
    assert read_plans(write(tmp_path, plans)) == plans


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds list, expected an object"),
        ({}, "dataset_name: missing, expected a name"),
        (without("plans_name", plans_with(UNET)), "plans_name: missing, expected a name"),
        (without("configurations", plans_with(UNET)), "configurations: missing, expected an object of objects"),
        (plans_with(UNET) | {"configurations": ["2d"]}, r"configurations: got ['2d'], expected an object of objects"),
        (plans_with(UNET) | {"configurations": {}}, "configurations: got {}, expected at least one configuration"),
        (plans_with(UNET) | {"plans_name": 3}, "plans_name: got 3, expected a name"),
        (plans_with(5), "configurations.3d_fullres.architecture: got 5, expected an object"),
        (plans_with({}), "configurations.3d_fullres.architecture.network_class_name: missing"),
        (plans_with({**UNET, "arch_kwargs": []}), "architecture.arch_kwargs: got [], expected an object"),
        (plans_with(UNET, patch_size=[48]), "patch_size: got [48], expected a list of two or three positive numbers"),
        (plans_with(UNET, patch_size=["a", "b"]), "patch_size: got ['a', 'b'], expected a list of two or three"),
        (plans_with(UNET, median_image_size_in_voxels=None), "median_image_size_in_voxels: got None, expected a list"),
        (plans_with(UNET, median_image_size_in_voxels=[0, 1]), "median_image_size_in_voxels: got [0, 1], expected"),
        (plans_with(UNET, batch_size=True), "batch_size: got True, expected a positive number"),
        (plans_with(UNET, batch_size=float("inf")), "batch_size: got inf, expected a positive number"),
        (plans_with(UNET, normalization_schemes=1), "normalization_schemes: got 1, expected a list"),
        (plans_with(UNET, inherits_from="2d"), "inherits_from: got '2d', expected another configuration (none)"),
        (plans_with(UNET, inherits_from="3d_fullres"), "inherits_from: got '3d_fullres', expected another"),
        (plans_with(UNET, inherits_from=["2d"]), "inherits_from: got ['2d'], expected another configuration"),
    ],
)
def test_damaged_plans(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_plans(path)
    assert str(caught.value).startswith(f"{path}: ")
    if isinstance(content, dict):
        assert "Correct that key, or replace the file" in str(caught.value)


def test_what_is_missing_in_a_parent_is_named_where_it_is_needed(tmp_path):
    plans = plans_with(UNET)
    plans["configurations"]["mine"] = {"patch_size": [4, 48, 32]}
    with pytest.raises(ValueError, match=r"configurations\.mine\.median_image_size_in_voxels: missing"):
        read_plans(write(tmp_path, plans))
