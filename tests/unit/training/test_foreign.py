"""SwinUNETR's plans, and what is said where they or MONAI are missing."""

from __future__ import annotations

import sys

import pytest
import torch
from nnunetv2_masam.training.swin_unetr import SwinUNETRTrainer, fitting_patch, plan_swin_unetr

from nnunetv2_masam.planning import PlanningRules, plan_configuration

BASELINE = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "patch_size": [20, 320, 256],
    "batch_size": 4,
    "spacing": [3.6, 0.6, 0.6],
    "median_image_size_in_voxels": [20.0, 320.0, 320.0],
    "architecture": {"network_class_name": "U-Net", "arch_kwargs": {}},
}


@pytest.mark.parametrize(
    ("patch", "fitting"),
    [
        ([128, 128, 128], [128, 128, 128]),
        ([20, 320, 256], [32, 320, 256]),
        ([40, 56, 40], [64, 64, 64]),
        ([32, 20, 8], [32, 32, 64]),
        ([512, 448], [512, 448]),
        ([30, 30], [32, 64]),
    ],
)
def test_patches_fit_five_halvings_and_end_in_more_than_one_voxel(patch, fitting):
    assert fitting_patch(patch) == fitting


def test_all_but_patch_batch_and_network_stays_the_baselines():
    planned = plan_swin_unetr(BASELINE, {"feature_size": 48}, 2)
    assert planned.pop("architecture") == {
        "network_class_name": "monai.networks.nets.SwinUNETR",
        "arch_kwargs": {"spatial_dims": 3, "feature_size": 48},
        "_kw_requires_import": [],
    }
    assert planned == {k: v for k, v in BASELINE.items() if k != "architecture"} | {
        "patch_size": [32, 320, 256],
        "batch_size": 2,
    }


def test_2d_keeps_the_batch():
    planned = plan_swin_unetr({**BASELINE, "patch_size": [320, 256]}, {}, 2)
    assert planned["batch_size"] == 4
    assert planned["architecture"]["arch_kwargs"] == {"spatial_dims": 2}


def plans(configuration: dict) -> dict:
    return {
        "plans_name": "somePlans", "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager",
        "configurations": {"3d_fullres": configuration}, "continue_training": False,
    }  # fmt: skip


def test_plans_of_masam_are_refused():
    masam = plan_configuration(BASELINE, PlanningRules(), num_classes=3)
    with pytest.raises(ValueError, match="'somePlans' are MA-SAM's"):
        SwinUNETRTrainer.planned(plans(masam), "3d_fullres")


def test_plans_given_are_not_changed():
    given = plans(dict(BASELINE))
    planned = SwinUNETRTrainer.planned(given, "3d_fullres")
    assert planned["configurations"]["3d_fullres"]["patch_size"] == [32, 320, 256]
    assert given["configurations"]["3d_fullres"] == BASELINE


def test_missing_monai_ends_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai", None)
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(ModuleNotFoundError) as error:
        SwinUNETRTrainer.build_network_architecture(None, None, 1, 2)
    assert f'pip install "monai>=1.5" torch=={torch.__version__}' in str(error.value)
