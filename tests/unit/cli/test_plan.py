"""``nnUNetv2_masam plan``: nothing that is there is replaced unless told, and the baseline's plans never."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

from nnunetv2_masam.catalogue import masam_planner
from nnunetv2_masam.cli import main
from nnunetv2_masam.planning import PlanningRules, plan_configuration

FINGERPRINT = Path(__file__).resolve().parents[3] / "benchmarks" / "fingerprints" / "Dataset004_Hippocampus.json"
NAME = FINGERPRINT.stem
TINY = ["-tr", "nnUNetTrainerMASAM_tiny"]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """nnU-Net's folders with a fingerprint, the baseline's plans and ours."""
    base = tmp_path_factory.mktemp("plan")
    content = json.loads(FINGERPRINT.read_text())
    content["dataset_json"].update(
        dataset={"case": {"images": ["case_0000"], "label": "case"}}, overwrite_image_reader_writer="SimpleITKIO"
    )
    for kind, names in (("raw", ["dataset_json"]), ("preprocessed", ["dataset_json", "dataset_fingerprint"])):
        (base / kind / NAME).mkdir(parents=True)
        for name in names:
            (base / kind / NAME / f"{name.replace('_json', '')}.json").write_text(json.dumps(content[name]))
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        for kind in ("raw", "preprocessed", "results"):
            patch.setenv(f"nnUNet_{kind}", str(base / kind))
        patch.setenv("nnUNet_n_proc_DA", "1")
        ExperimentPlanner(NAME).plan_experiment()
        assert main(["plan", "-d", "4", *TINY]) == 0
    return base


@pytest.fixture
def folder(planned, tmp_path, monkeypatch):
    """A copy of the preprocessed folder."""
    for kind in ("raw", "preprocessed", "results"):
        if (planned / kind).is_dir():
            shutil.copytree(planned / kind, tmp_path / kind)
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
    return tmp_path / "preprocessed" / NAME


def test_the_same_plans_again_are_fine_and_others_are_refused(folder, capsys):
    file = folder / "nnUNetMASAMPlans.json"
    before = file.read_bytes()
    assert main(["plan", "-d", "4", *TINY]) == 0
    assert f"written: {file}" in capsys.readouterr().out
    assert file.read_bytes() == before
    plans = json.loads(before)
    plans["configurations"]["2d"]["batch_size"] += 1
    plans["configurations"]["mine"] = {"inherits_from": "2d"}
    file.write_text(json.dumps(plans))
    edited = file.read_bytes()
    assert main(["plan", "-d", "4", *TINY]) == 2
    assert f"{file}: holds other plans, edited or made for another" in capsys.readouterr().err
    assert file.read_bytes() == edited
    assert main(["plan", "-d", "4", *TINY, "--overwrite"]) == 0
    found = json.loads(file.read_text())
    assert found["configurations"].pop("mine") == {"inherits_from": "2d"}
    assert found == json.loads(before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nnUNetPlans", "are the plans to start from"),
        ("nnUNetResEncUNetLPlans", "holds plans of ResEncUNetPlanner, which are never overwritten"),
        ("../../evil", "Paths are not names"),
        ("", "Paths are not names"),
        (".hidden", "Paths are not names"),
        ("a__b", "a name without __"),
    ],
)
def test_plans_that_are_never_written(folder, capsys, name, message):
    other = json.loads((folder / "nnUNetPlans.json").read_text()) | {"experiment_planner_used": "ResEncUNetPlanner"}
    (folder / "nnUNetResEncUNetLPlans.json").write_text(json.dumps(other))
    before = {path: path.read_bytes() for path in folder.parent.parent.rglob("*.json")}
    assert main(["plan", "-d", "4", *TINY, "-overwrite_plans_name", name, "--overwrite"]) == 2
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.parent.parent.rglob("*.json")} == before


def test_baseline_plans_of_another_shape(folder, capsys):
    baseline = json.loads((folder / "nnUNetPlans.json").read_text())
    del baseline["configurations"]["2d"]["median_image_size_in_voxels"]
    (folder / "nnUNetPlans.json").write_text(json.dumps(baseline))
    assert main(["plan", "-d", "4", *TINY]) == 2
    message = capsys.readouterr().err
    assert f"{folder / 'nnUNetPlans.json'}: configurations.2d.median_image_size_in_voxels: missing" in message


@pytest.mark.parametrize("command", ["plan", "adapt-pretrained checkpoint.pth -o fitted.pth"])
@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "nnUNetTrainerSwinUNETR"])
def test_trainers_of_other_networks_are_refused(folder, tmp_path, monkeypatch, capsys, command, trainer):
    monkeypatch.chdir(tmp_path)
    torch.save({"network_weights": {}, "trainer_name": trainer, "init_args": {}}, "checkpoint.pth")
    assert main([*command.split(), "-d", "4", "-tr", trainer]) == 2
    message = capsys.readouterr().err
    assert f"-tr: {trainer} is not a MA-SAM trainer; take one of nnUNetTrainerMADINO" in message
    assert "nnUNetTrainerMASAM_tiny" in message
    assert message.count("SwinUNETR") == trainer.count("SwinUNETR")  # what is proposed is not refused


def test_the_planner_takes_rules_and_baseline_as_arguments(folder):
    planner = masam_planner()(4, rules=PlanningRules(vit="vit_t", slices=7), plans_name="Mine")
    assert planner.plan()["configurations"]["3d_fullres"]["training_patch_size"][0] == 7
    assert not (folder / "Mine.json").exists()


@pytest.mark.parametrize("target", [float("inf"), float("nan"), 0.0, -1.0])
def test_memory_targets_of_python_users(folder, target):
    baseline = json.loads((folder / "nnUNetPlans.json").read_text())["configurations"]["2d"]
    with pytest.raises(ValueError, match="GPU memory target: got"):
        plan_configuration(baseline, PlanningRules(vit="vit_t"), 3, target)
