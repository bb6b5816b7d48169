"""Plans of foreign networks, what is refused, and where MONAI is missing."""

from __future__ import annotations

import sys

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunetv2_masam.planning import PlanningRules, plan_configuration
from nnunetv2_masam.training.foreign import (
    NNFORMER,
    SWIN_UNETR,
    UXNET3D,
    ForeignTrainer,
    fitting_patch,
    plan_foreign,
)

BASELINE = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "patch_size": [20, 320, 256],
    "batch_size": 4,
    "spacing": [3.6, 0.6, 0.6],
    "median_image_size_in_voxels": [20.0, 320.0, 320.0],
    "architecture": {"network_class_name": "U-Net", "arch_kwargs": {}},
}


class SwinUNETRTrainer(ForeignTrainer):
    foreign = SWIN_UNETR


@pytest.mark.parametrize(
    ("patch", "multiple", "fitting"),
    [
        ([128, 128, 128], (32, 32, 32), [128, 128, 128]),
        ([20, 320, 256], (32, 32, 32), [32, 320, 256]),
        ([32, 20, 8], (32, 32, 32), [32, 32, 64]),
        ([512, 448], (32, 32, 32), [512, 448]),
        ([30, 30], (32, 32, 32), [32, 64]),
        ([40, 56, 40], (16, 32, 32), [48, 64, 64]),
        ([10, 30, 30], (16, 32, 32), [16, 32, 64]),
    ],
)
def test_patches_fit_the_halvings_and_end_in_more_than_one_voxel(patch, multiple, fitting):
    assert fitting_patch(patch, multiple) == fitting


def test_all_but_patch_batch_and_network_stays_the_baselines():
    planned = plan_foreign(BASELINE, SWIN_UNETR, {"feature_size": 48}, None, 2)
    assert planned.pop("architecture") == {
        "network_class_name": "monai.networks.nets.SwinUNETR",
        "arch_kwargs": {"spatial_dims": 3, "feature_size": 48},
        "_kw_requires_import": [],
    }
    assert planned == {k: v for k, v in BASELINE.items() if k != "architecture"} | {
        "patch_size": [32, 320, 256],
        "batch_size": 2,
    }


@pytest.mark.parametrize(
    ("network", "largest", "median", "patch"),
    [
        (UXNET3D, (96, 96, 96), [148.0, 512.0, 512.0], [96, 96, 96]),
        (UXNET3D, (96, 96, 96), [20.0, 320.0, 320.0], [32, 96, 96]),
        (NNFORMER, (64, 128, 128), [148.0, 512.0, 512.0], [64, 128, 128]),
        (NNFORMER, (64, 128, 128), [35.5, 50.0, 36.0], [48, 64, 64]),
    ],
)
def test_published_patches_where_the_images_are_as_large(network, largest, median, patch):
    planned = plan_foreign({**BASELINE, "median_image_size_in_voxels": median}, network, {}, largest, 2)
    assert planned["patch_size"] == patch
    if network is NNFORMER:
        assert planned["architecture"]["arch_kwargs"] == {"crop_size": patch}


def test_2d_keeps_the_batch():
    planned = plan_foreign({**BASELINE, "patch_size": [320, 256]}, SWIN_UNETR, {}, None, 2)
    assert planned["batch_size"] == 4
    assert planned["architecture"]["arch_kwargs"] == {"spatial_dims": 2}


@pytest.mark.parametrize("network", [UXNET3D, NNFORMER])
def test_2d_is_refused_by_networks_for_volumes(network):
    with pytest.raises(NotImplementedError, match="segments volumes only"):
        plan_foreign({**BASELINE, "patch_size": [320, 256]}, network, {}, (64, 128, 128), 2)


def plans(configuration: dict) -> dict:
    return {
        "plans_name": "somePlans", "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager",
        "configurations": {"3d_fullres": configuration}, "continue_training": False,
    }  # fmt: skip


def test_plans_of_masam_are_refused():
    masam = plan_configuration(BASELINE, PlanningRules(), num_classes=3)
    with pytest.raises(ValueError, match="'somePlans' are MA-SAM's"):
        SwinUNETRTrainer.replan_for_network(plans(masam), "3d_fullres")


def test_plans_given_are_not_changed():
    given = plans(dict(BASELINE))
    planned = SwinUNETRTrainer.replan_for_network(given, "3d_fullres")
    assert planned["configurations"]["3d_fullres"]["patch_size"] == [32, 320, 256]
    assert given["configurations"]["3d_fullres"] == BASELINE


@pytest.mark.parametrize("network", [SWIN_UNETR, UXNET3D, NNFORMER])
def test_missing_monai_ends_with_the_command_that_installs_it(network, monkeypatch):
    for name in ("monai", "monai.networks.nets", "monai.networks.blocks", "monai.networks.layers"):
        monkeypatch.setitem(sys.modules, name, None)
    planned = plan_foreign(BASELINE, network, {}, (64, 128, 128), 2)
    with pytest.raises(ModuleNotFoundError) as error:
        ForeignTrainer.build_network_architecture(None, ConfigurationManager(planned), 1, 2)
    assert f'pip install "nnunetv2-masam[monai]" torch=={torch.__version__}' in str(error.value)
