"""Plans and environment variables that a trainer reads."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.plans_file import NETWORK_CLASS
from nnunetv2_masam.training.plans import plans_for_training
from nnunetv2_masam.training.trainer import MASAMTrainer
from tests.conftest import TINY_VIT
from tests.plans import plans_with

DATASET = {"labels": {"background": 0, "a": 1}, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}


def test_a_continued_training_names_the_damaged_plans_beside_its_model(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    plans = plans_with({"network_class_name": "PlainConvUNet", "arch_kwargs": {}}) | {"continue_training": True}
    stored = tmp_path / "Dataset001_A" / "someTrainer__nnUNetPlans__3d_fullres" / "plans.json"
    stored.parent.mkdir(parents=True)
    for content, message in (("{}", "dataset_name: missing"), ("{", "cannot be read as JSON")):
        stored.write_text(content)
        with pytest.raises(ValueError, match=message) as caught:
            plans_for_training(plans, "3d_fullres", DATASET, PlanningRules(), "someTrainer")
        assert str(caught.value).startswith(f"{stored}: ")
    stored.write_text(json.dumps(plans_with({"network_class_name": "PlainConvUNet", "arch_kwargs": {}})))
    planned = plans_for_training(plans, "3d_fullres", DATASET, PlanningRules(), "someTrainer")
    assert planned["configurations"]["3d_fullres"]["architecture"]["network_class_name"] == NETWORK_CLASS


def test_a_patch_may_be_as_small_as_a_token_of_the_encoder():
    kwargs = {"vit": "lite_medsam", "image_size": [112, 84], "adapter_channels": 0}
    plans = plans_with({"network_class_name": NETWORK_CLASS, "arch_kwargs": kwargs, "_kw_requires_import": []})
    rules = PlanningRules(vit="lite_medsam", arch_kwargs={"adapter_channels": 0})
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(patch_size=[5, 12, 8], micro_batch_size=1)
    trained = plans_for_training(plans, "3d_fullres", DATASET, rules, "someTrainer")
    assert trained["configurations"]["3d_fullres"]["patch_size"] == [5, 12, 8]
    configuration["patch_size"] = [5, 12, 3]
    with pytest.raises(ValueError, match="smaller than one token of 4 x 4"):
        plans_for_training(plans, "3d_fullres", DATASET, rules, "someTrainer")
    configuration["patch_size"] = [5, 12, 8]
    with pytest.raises(ValueError, match=r"have adapter_channels 0; someTrainer trains adapter_channels 48"):
        plans_for_training(
            plans, "3d_fullres", DATASET, replace(rules, arch_kwargs={"adapter_channels": 48}), "someTrainer"
        )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((yes, True) for yes in ("1", "yes", "on", "TRUE")),
        *((no, False) for no in (None, "", "0", "no", "off", "False")),
    ],
)
def test_bfloat16_on_cpus_by_any_spelling(monkeypatch, value, expected):
    monkeypatch.delenv("MASAM_CPU_BF16", raising=False)
    if value is not None:
        monkeypatch.setenv("MASAM_CPU_BF16", value)
    kwargs = {"vit": TINY_VIT, "image_size": [32, 32], "adapter_channels": 4, "fact_rank": 2}
    plans = plans_with({"network_class_name": NETWORK_CLASS, "arch_kwargs": kwargs, "_kw_requires_import": []})
    configuration = ConfigurationManager(plans["configurations"]["3d_fullres"])
    network = MASAMTrainer.build_network_architecture(PlansManager(plans), configuration, 1, 2, False)
    assert network.bf16_on_cpu is expected
