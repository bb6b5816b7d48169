"""Controls without pretrained weights: which there are, and that they are the same network on the same input."""

from __future__ import annotations

import pytest

from nnunetv2_masam import trainers
from nnunetv2_masam.planning import plan_configuration

SUFFIX = "_scratch"
CONTROLS = [name for name in dir(trainers) if name.endswith(SUFFIX)]
BASELINE = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "patch_size": [48, 192, 192],
    "batch_size": 2,
    "spacing": [3.0, 0.76, 0.76],
    "median_image_size_in_voxels": [148.0, 512.0, 512.0],
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_the_pretrained_network_on_the_same_input(name):
    control, pretrained = getattr(trainers, name), getattr(trainers, name.removesuffix(SUFFIX))
    assert pretrained.needs_pretrained_weights
    assert not control.needs_pretrained_weights
    planned = [plan_configuration(BASELINE, recipe.rules, 14) for recipe in (pretrained, control)]
    arguments = [plan["architecture"]["arch_kwargs"] for plan in planned]
    assert arguments[1].pop("trainable") == "all"
    for key in ("training_patch_size", "batch_size"):
        assert planned[0][key] == planned[1][key]
    for kwargs in arguments:
        kwargs.pop("gradient_checkpointing", None)
        kwargs.pop("input_range", None)  # what pretrained weights have seen; random ones take nnU-Net's z-scores
    assert arguments[0] == arguments[1]


def test_plans_of_the_pretrained_network_are_refused():
    """They freeze what the control has to train."""
    planned = plan_configuration(BASELINE, trainers.nnUNetTrainerMASAM.rules, 3)
    plans = {"plans_name": "nnUNetMASAMPlans", "dataset_name": "Dataset001_A", "configurations": {"3d": planned}}
    labels = {"labels": {"background": 0, "a": 1, "b": 2}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    with pytest.raises(ValueError, match="have trainable 'masam'; nnUNetTrainerMASAM_scratch trains trainable 'all'"):
        trainers.nnUNetTrainerMASAM_scratch.planned(plans, "3d", labels)
