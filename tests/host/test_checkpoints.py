"""Checkpoints of our trainers: slim, saved whole or not at all, and as the start of other trainings."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nnunetv2_masam.cli import main
from nnunetv2_masam.weights.provenance import identify, stored_provenance
from nnunetv2_masam.weights.slim import MARKER
from tests.host.conftest import CHECKOUT, TRAINERS
from tests.sam_file import write_sam_file

sys.path.append(str(TRAINERS))

from nnUNetTrainerMASAM_testing import nnUNetTrainerMASAM_testing, nnUNetTrainerMASAM_testing_sam

from tests.host.test_trainer import CPU, make


@pytest.fixture
def sam_file(tmp_path, monkeypatch):
    """The SAM file of the trainer below, where training finds it."""
    path = write_sam_file(tmp_path / "sam_small.pth", dict(nnUNetTrainerMASAM_testing_sam.rules.vit))
    monkeypatch.setenv("MASAM_CHECKPOINT", str(path))
    return path


def test_slim_checkpoints_train_continue_and_predict(workspace, sam_file, tmp_path, monkeypatch):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    monkeypatch.setenv("MASAM_SLIM_CHECKPOINTS", "1")
    trainer = make(nnUNetTrainerMASAM_testing_sam, workspace, "Dataset901_Plain")
    trainer.run_training()
    stored = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    assert stored_provenance(stored) == identify(sam_file)
    saved, weights = stored["network_weights"], trainer.masam.state_dict()
    assert saved[MARKER]["file"] == "sam_small.pth"
    frozen = {name for name, p in trainer.masam.named_parameters() if not p.requires_grad}
    assert len(frozen - saved.keys()) > 20
    assert set(saved) - {MARKER} < set(weights)

    resumed = make(nnUNetTrainerMASAM_testing_sam, workspace, "Dataset901_Plain", continue_training=True)
    resumed.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    resumed.on_train_start()
    logs = [path.read_text() for path in Path(trainer.output_folder).glob("training_log*.txt")]
    assert sum(str(identify(sam_file)) in log for log in logs) == len(logs) == 2
    resumed.save_checkpoint(str(tmp_path / "again.pth"))
    assert stored_provenance(torch.load(tmp_path / "again.pth", weights_only=False)) == identify(sam_file)
    predictor = nnUNetPredictor(device=CPU)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    for network in (resumed.masam, predictor.network):
        assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())

    assert main(["merge", trainer.output_folder_base, "-o", str(tmp_path / "whole")]) == 0
    whole = torch.load(tmp_path / "whole" / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert whole["network_weights"].keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in whole["network_weights"].items())
    assert len(whole["logging"]["train_losses"]) == 2

    sam_file.unlink()
    monkeypatch.delenv("MASAM_CHECKPOINT")
    with pytest.raises(FileNotFoundError, match=r"sam_small\.pth, \d+ bytes"):
        predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))


SAVE_TWICE = """
import json, os, signal, sys, torch
from pathlib import Path
sys.path.append(sys.argv[2])
from nnUNetTrainerMASAM_testing import nnUNetTrainerMASAM_testing

class Killed:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

folder = Path(os.environ["nnUNet_preprocessed"]) / "Dataset901_Plain"
plans, dataset_json = (json.loads((folder / f"{name}.json").read_text()) for name in ("nnUNetPlans", "dataset"))
plans["continue_training"] = False
trainer = nnUNetTrainerMASAM_testing(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
trainer.initialize()
trainer.save_checkpoint(sys.argv[1])
trainer.my_init_kwargs = {"tensor": torch.ones(100_000), "then": Killed()}
trainer.save_checkpoint(sys.argv[1])
"""


def test_killed_while_saving_leaves_the_last_checkpoint(workspace, tmp_path):
    """A process that saves, and is killed in the middle of saving again."""
    path = tmp_path / "checkpoint_latest.pth"
    process = subprocess.run([sys.executable, "-c", SAVE_TWICE, str(path), str(TRAINERS)], cwd=CHECKOUT, check=False)
    assert process.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".checkpoint_latest.pth.*.partial"))) == 1
    checkpoint = torch.load(path, weights_only=False)
    assert checkpoint["trainer_name"] == "nnUNetTrainerMASAM_testing"
    assert checkpoint["init_args"]["configuration"] == "3d_fullres"


def test_rank_0_saves_and_keeps_links(workspace, tmp_path):
    trainer = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
    trainer.initialize()
    link, target = tmp_path / "checkpoint_latest.pth", tmp_path / "elsewhere.pth"
    trainer.local_rank = 1
    trainer.save_checkpoint(str(link))
    assert list(tmp_path.iterdir()) == []
    trainer.local_rank = 0
    target.write_bytes(b"old")
    link.symlink_to(target)
    trainer.save_checkpoint(str(link))
    assert link.is_symlink()
    assert torch.load(target, weights_only=False)["trainer_name"] == "nnUNetTrainerMASAM_testing"


@pytest.mark.parametrize("change", ["channels", "in-plane size", "nothing"])
def test_pretrained_weights_fitted_to_another_data_set(workspace, sam_file, tmp_path, change, capsys):
    """What nnU-Net refuses as it is works after adapt-pretrained, and the message says what was resized."""
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    source = make(nnUNetTrainerMASAM_testing_sam, workspace, "Dataset901_Plain")
    source.on_train_start()
    checkpoint = tmp_path / "source.pth"
    source.save_checkpoint(str(checkpoint))

    def edit(plans, dataset_json):
        if change == "in-plane size":
            plans["configurations"]["3d_fullres"]["median_image_size_in_voxels"] = [10, 40, 24]

    dataset = "Dataset902_Regions" if change == "channels" else "Dataset901_Plain"
    plans = json.loads((workspace.preprocessed / dataset / "nnUNetPlans.json").read_text())
    edit(plans, None)
    (workspace.preprocessed / dataset / "nnUNetPlans_edited.json").write_text(json.dumps(plans))
    target = make(nnUNetTrainerMASAM_testing_sam, workspace, dataset, plans_name="nnUNetPlans_edited")
    target.initialize()
    if change != "nothing":
        with pytest.raises(AssertionError, match="image_encoder"):
            load_pretrained_weights(target.network, str(checkpoint))
    adapted = tmp_path / "adapted.pth"
    capsys.readouterr()
    arguments = ["-d", dataset, "-tr", "nnUNetTrainerMASAM_testing_sam", "-p", "nnUNetPlans_edited"]
    assert main(["adapt-pretrained", str(checkpoint), *arguments, "-o", str(adapted)]) == 0
    said = capsys.readouterr().out
    assert ("patch_embed.proj.weight" in said) == (change == "channels")
    assert ("image_encoder.pos_embed" in said) == (change == "in-plane size")
    assert "mask_decoder.seg_layers" in said
    assert stored_provenance(torch.load(adapted, weights_only=False)) == identify(sam_file)
    load_pretrained_weights(target.network, str(adapted))
    own, theirs = target.masam.state_dict(), source.masam.state_dict()
    assert all(
        torch.equal(own[name], theirs[name])
        for name in own
        if own[name].shape == theirs[name].shape and ".seg_layers." not in name
    )
    kernel = own["image_encoder.patch_embed.proj.weight"].sum(1)
    torch.testing.assert_close(kernel, theirs["image_encoder.patch_embed.proj.weight"].sum(1))


def test_another_rank_is_refused(workspace, tmp_path, capsys):
    source = make(nnUNetTrainerMASAM_testing, workspace, "Dataset901_Plain")
    source.initialize()
    checkpoint = tmp_path / "source.pth"
    source.save_checkpoint(str(checkpoint))
    arguments = ["-d", "Dataset901_Plain", "-tr", "nnUNetTrainerMASAM_tiny", "-o", str(tmp_path / "adapted.pth")]
    assert main(["adapt-pretrained", str(checkpoint), *arguments]) == 2
    assert "Only classes, channels and image size may differ" in capsys.readouterr().err
