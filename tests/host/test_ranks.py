"""Two processes through nnU-Net's code for several GPUs, on a CPU: they train what one process trains."""

from __future__ import annotations

import contextlib
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
UNEVEN = (DATASET, "3d_fullres", 0, "nnUNetTrainerMASAM_testing_ranks")
EVEN = (DATASET, "2d", 0, "nnUNetTrainerMASAM_testing_even_ranks")
FINAL, WHOLE = "checkpoint_final.pth", "checkpoint_whole.pth"


def rank(rank: int, ports: list[int], environment: dict[str, str]) -> None:
    """What ``nnUNetv2_train -num_gpus 2`` runs in each process, but for the devices and the backend.

    Three trainings one after the other, because starting a process takes longer than any of them: uneven batches, the
    same once more as if it had been killed after its first epoch, and even batches.
    """
    os.environ.update(environment, MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)

    def gloo(rank: int, world_size: int) -> None:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world_size)

    with (
        mock.patch.object(run_training, "setup_ddp", gloo),
        mock.patch.object(torch.cuda, "set_device"),
        mock.patch.object(host, "DDP", lambda network, device_ids: DistributedDataParallel(network)),
    ):
        for port, arguments, resume in zip(ports, (UNEVEN, UNEVEN, EVEN), (False, True, False), strict=True):
            os.environ["MASTER_PORT"] = str(port)
            if resume and rank == 0:  # the other one waits for it
                (final,) = Path(environment["nnUNet_results"]).rglob(FINAL)
                final.rename(final.with_name(WHOLE))
                final.with_name("checkpoint_first.pth").rename(final.with_name("checkpoint_latest.pth"))
            run_training.run_ddp(rank, *arguments, "nnUNetPlans", False, resume, False, None, False, False, 2)


@pytest.fixture(scope="module")
def on_two(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two processes."""
    results = tmp_path_factory.mktemp("two")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in sockets]
    environment = {name: value for name, value in os.environ.items() if name.startswith(("nnUNet", "MASAM"))}
    environment |= {"nnUNet_results": str(results), "MASAM_SEED": "1"}
    torch.multiprocessing.spawn(rank, args=(ports, environment), nprocs=2)
    return results


def checkpoint(results: Path, trainer: str, name: str) -> dict:
    (path,) = results.rglob(f"{trainer}__*/fold_0/{name}")
    return torch.load(path, weights_only=False)


@pytest.mark.parametrize("arguments", [UNEVEN, EVEN], ids=["uneven", "even"])
def test_two_ranks_train_what_one_process_trains(workspace, on_two, tmp_path, monkeypatch, arguments):
    """Uneven samples and micro-batches; batch Dice over both ranks; a step that one rank's data makes all skip."""
    monkeypatch.setenv("MASAM_SEED", "1")
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    _, configuration, _, trainer = arguments
    single = make(find_trainer(trainer), workspace, DATASET, configuration)
    single.initialize()
    start = {name: tensor.clone() for name, tensor in single.masam.state_dict().items()}
    single.run_training()
    expected = checkpoint(tmp_path, trainer, FINAL)
    found = checkpoint(on_two, trainer, WHOLE if arguments == UNEVEN else FINAL)
    assert_equal_within_rounding(found["network_weights"], expected["network_weights"])
    assert max(float((tensor - start[name]).abs().max()) for name, tensor in single.masam.state_dict().items()) > 1e-4
    losses = [stored["logging"]["train_losses"] for stored in (expected, found)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    logs = [path.read_text() for path in sorted(on_two.rglob(f"{trainer}__*/fold_0/training_log*.txt"))]
    assert f"data that is not finite in sample{single.batch_size - 1}" in logs[0]
    if arguments == UNEVEN:
        resumed = checkpoint(on_two, trainer, FINAL)
        assert_equal_within_rounding(resumed["network_weights"], expected["network_weights"])


def assert_equal_within_rounding(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
