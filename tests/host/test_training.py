"""What a training guards against: values that are not finite, a second training of its fold, chance."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunetv2_masam.data_checks import nonfinite_cases
from nnunetv2_masam.installation import check_dataset
from nnunetv2_masam.training.lock import FoldInUse
from tests.host.conftest import CHECKOUT, TRAINERS, Workspace
from tests.host.test_trainer import make
from tests.processes import held_elsewhere

sys.path.append(str(TRAINERS))

from nnUNetTrainerMASAM_testing import nnUNetTrainerMASAM_testing, nnUNetTrainerMASAM_testing_killed

DATASET = "Dataset901_Plain"
TRAIN = ("901", "3d_fullres", "0", "-device", "cpu", "-tr", "nnUNetTrainerMASAM_testing_killed")


@pytest.fixture
def results(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder of the test's own."""
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return tmp_path / "results"


def log_of(trainer) -> str:
    return Path(trainer.log_file).read_text()


def weights_of(trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.bare_network.state_dict().items()}


def test_steps_that_are_not_finite_are_skipped_named_and_end_the_training(workspace, results):
    trainer = make(nnUNetTrainerMASAM_testing, workspace, DATASET)
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    good = next(trainer.dataloader_train)
    trainer.train_step(good)
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(latest))
    before, size = weights_of(trainer), latest.stat().st_size

    bad = {"data": good["data"].clone(), "target": good["target"], "keys": np.array(["well", "broken"])}
    bad["data"][1, 0, 0, 0, 0] = float("inf")
    outputs = [trainer.train_step(bad)]
    assert not np.isfinite(outputs[0]["loss"])
    assert "data that is not finite in broken" in log_of(trainer)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(trainer).items())
    outputs.append(trainer.train_step(good))
    trainer.on_train_epoch_end(outputs)
    assert trainer.logger.get_value("train_losses", step=-1) == pytest.approx(float(outputs[1]["loss"]))
    assert "1 of 2 steps were skipped" in log_of(trainer)

    trainer.train_step(bad)
    with pytest.raises(ValueError, match=r"3 of the epoch's 3 steps were skipped.*data of broken holds"):
        trainer.train_step(bad)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not written, because 1 of the network's tensors"):
        trainer.save_checkpoint(str(latest))
    assert latest.stat().st_size == size
    assert torch.load(latest, weights_only=False)["network_weights"].keys() == before.keys()
    trainer.on_train_epoch_start()
    for _ in range(2):
        trainer.train_step(good)
    with pytest.raises(ValueError, match="the training diverges"):  # the data is finite, the weights are not
        trainer.train_step(good)
    trainer.fold_lock.release()


def test_damaged_cases_are_found(workspace, tmp_path, monkeypatch):
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    folder = tmp_path / DATASET / "nnUNetPlans_3d_fullres"
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    shutil.copytree(workspace.preprocessed / DATASET / "nnUNetPlans_3d_fullres", folder)
    assert list(nonfinite_cases(folder)) == []
    assert [finding.status for finding in check_dataset(DATASET)] == ["ok"]
    kind = infer_dataset_class(str(folder))
    data, segmentation, _, properties = kind(str(folder), ["caseTr1"]).load_case("caseTr1")
    data, segmentation = data[:], segmentation[:]
    data[0, 2, 3, 4:6] = [np.nan, np.inf]
    for file in folder.glob("caseTr1*"):
        file.unlink()
    kind.save_case(data, segmentation, properties, str(folder / "caseTr1"))
    assert list(nonfinite_cases(folder)) == [("caseTr1", 2)]
    (finding,) = check_dataset(DATASET)
    assert (finding.subject, finding.status) == ("nnUNetPlans_3d_fullres/caseTr1", "warning")
    assert finding.detail == "2 values are not finite"


def test_a_fold_is_trained_once_at_a_time(workspace, results):
    trainer = make(nnUNetTrainerMASAM_testing, workspace, DATASET)
    with held_elsewhere(Path(trainer.output_folder)) as process:
        with pytest.raises(FoldInUse, match=f"fold_0: this fold is being trained or validated by process {process}"):
            trainer.on_train_start()
        assert not trainer.was_initialized
        with pytest.raises(FoldInUse, match="Wait until it ends"):
            trainer.perform_actual_validation()


def test_the_packages_logger_reaches_the_training_log(workspace, results):
    first, second = (make(nnUNetTrainerMASAM_testing, workspace, DATASET) for _ in range(2))
    logging.getLogger("nnunetv2_masam.weights").info("a hint")
    assert "a hint" in log_of(second)
    assert first.log_file == second.log_file or "a hint" not in log_of(first)


def test_latest_checkpoint_comes_before_the_end(workspace, results):
    from nnUNetTrainerMASAM_tiny import nnUNetTrainerMASAM_tiny

    trainer = make(nnUNetTrainerMASAM_tiny, workspace, DATASET)
    trainer.initialize()
    assert (trainer.num_epochs, trainer.save_every) == (50, 5)


def final_weights(results: Path) -> dict[str, torch.Tensor]:
    (path,) = results.rglob("checkpoint_final.pth")
    return torch.load(path, weights_only=False)["network_weights"]


def test_seeded_trainings_are_bit_equal_also_when_killed_and_resumed(workspace, shell, tmp_path, monkeypatch, request):
    """One in this process without interruption, one by the stock command, killed in its second epoch and resumed."""
    monkeypatch.setenv("MASAM_SEED", "3")
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")  # with a seed, data are loaded in the training's process all the same
    threads = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    torch.set_num_threads(os.cpu_count() or 1)  # as nnUNetv2_train does: sums depend on it
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "whole"))
    trainer = make(nnUNetTrainerMASAM_testing_killed, workspace, DATASET)
    trainer.run_training()
    whole = final_weights(tmp_path / "whole")

    monkeypatch.setenv("nnUNet_results", str(tmp_path / "killed"))
    killed = [Path(sys.executable).parent / "nnUNetv2_train", *TRAIN]
    variables = {"MASAM_TESTING_KILL_AT_STEP": "5", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(killed, env={**os.environ, **variables}, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not list((tmp_path / "killed").rglob("checkpoint_final.pth"))
    assert list((tmp_path / "killed").rglob("checkpoint_latest.pth"))
    again = replace(shell, environment={**shell.environment, "nnUNet_results": str(tmp_path / "killed")})
    again.inside("nnUNetv2_train", *TRAIN, "--c")
    resumed = final_weights(tmp_path / "killed")
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []

    monkeypatch.setenv("MASAM_SEED", "4")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "other"))
    trainer = make(nnUNetTrainerMASAM_testing_killed, workspace, DATASET)
    trainer.num_epochs = 1
    trainer.run_training()
    other = final_weights(tmp_path / "other")
    assert any(not torch.equal(whole[name], other[name]) for name in whole)
