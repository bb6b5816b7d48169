"""Two processes through nnU-Net's code for several GPUs, on a CPU: they train what one process trains."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from unittest import mock

import pytest
import torch
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as host
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_masam.catalogue import find_trainer
from tests.host.conftest import Workspace
from tests.host.test_trainer import make

DATASET = "Dataset901_Plain"


def rank(rank: int, port: int, arguments: tuple, resume: bool, environment: dict[str, str]) -> None:
    """What ``nnUNetv2_train -num_gpus 2`` runs in each process, but for the devices and the backend."""
    os.environ.update(environment, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)

    def gloo(rank: int, world_size: int) -> None:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world_size)

    with (
        mock.patch.object(run_training, "setup_ddp", gloo),
        mock.patch.object(torch.cuda, "set_device"),
        mock.patch.object(host, "DDP", lambda network, device_ids: DistributedDataParallel(network)),
    ):
        run_training.run_ddp(rank, *arguments, "nnUNetPlans", False, resume, False, None, False, False, 2)


def train_on_two(results: Path, arguments: tuple, resume: bool = False) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name.startswith(("nnUNet", "MASAM"))}
    environment["nnUNet_results"] = str(results)
    torch.multiprocessing.spawn(rank, args=(port, arguments, resume, environment), nprocs=2)


def checkpoint(results: Path) -> dict:
    (path,) = results.rglob("checkpoint_final.pth")
    return torch.load(path, weights_only=False)


@pytest.mark.parametrize(
    ("configuration", "trainer"),
    [("3d_fullres", "nnUNetTrainerMASAM_testing_ranks"), ("2d", "nnUNetTrainerMASAM_testing_even_ranks")],
)
def test_two_ranks_train_what_one_process_trains(workspace: Workspace, tmp_path, monkeypatch, configuration, trainer):
    """Uneven samples and micro-batches; batch Dice over both ranks; a step that one rank's data makes all skip."""
    monkeypatch.setenv("MASAM_SEED", "1")
    arguments = (DATASET, configuration, 0, trainer)
    two, one = tmp_path / "two", tmp_path / "one"
    train_on_two(two, arguments)
    monkeypatch.setenv("nnUNet_results", str(one))
    single = make(find_trainer(trainer), workspace, DATASET, configuration)
    single.initialize()
    start = {name: tensor.clone() for name, tensor in single.masam.state_dict().items()}
    single.run_training()
    expected, found = checkpoint(one), checkpoint(two)
    assert_equal_within_rounding(found["network_weights"], expected["network_weights"])
    assert max(float((tensor - start[name]).abs().max()) for name, tensor in single.masam.state_dict().items()) > 1e-4
    losses = [stored["logging"]["train_losses"] for stored in (expected, found)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    (log,) = two.rglob("training_log*.txt")
    assert f"data that is not finite in sample{single.batch_size - 1}" in log.read_text()

    if configuration == "2d":
        return
    (final,) = two.rglob("checkpoint_final.pth")  # as if it had been killed after the first epoch
    final.unlink()
    final.with_name("checkpoint_first.pth").rename(final.with_name("checkpoint_latest.pth"))
    train_on_two(two, arguments, resume=True)
    assert_equal_within_rounding(checkpoint(two)["network_weights"], expected["network_weights"])


def assert_equal_within_rounding(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
