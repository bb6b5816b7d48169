"""Two processes through nnU-Net's code for several GPUs, on a CPU: they train what one process trains."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as host
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_masam.box_record import add_box_channel
from nnunetv2_masam.catalogue import find_trainer
from nnunetv2_masam.weights.provenance import identify, stored_provenance
from nnunetv2_masam.weights.slim import MARKER
from tests.host.conftest import TRAINERS, Workspace
from tests.host.test_trainer import make
from tests.sam_file import write_sam_file

sys.path.append(str(TRAINERS))

from nnUNetTrainerMASAM_testing import nnUNetTrainerMASAM_testing_sam

DATASET, BOXED = "Dataset901_Plain", "Dataset907_BoxesOfRanks"
RUNS = {
    "uneven": (DATASET, "3d_fullres", 0, "nnUNetTrainerMASAM_testing_ranks"),
    "batch Dice": (DATASET, "2d", 0, "nnUNetTrainerMASAM_testing_even_ranks"),
    "slim": (DATASET, "3d_fullres", 0, "nnUNetTrainerMASAM_testing_sam_ranks"),
    "boxes": (BOXED, "3d_fullres", 0, "nnUNetTrainerMASAM_testing_box_ranks"),
}
NODES = "nnUNetTrainerMASAM_testing_nodes"
RESUMED = ("uneven", "slim")
FINAL, WHOLE = "checkpoint_final.pth", "checkpoint_whole.pth"


def process(number: int, ports: list[int], environment: dict[str, str], of_nodes: str) -> None:
    """All trainings one after the other, because starting a process takes longer than any of them."""
    os.environ.update(environment, MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)
    rank(number, ports[1:])
    os.environ["nnUNet_results"] = of_nodes
    node(number, ports[0])


def rank(rank: int, ports: list[int]) -> None:
    """What ``nnUNetv2_train -num_gpus 2`` runs in each process, but for the devices and the backend.

    After all trainings, two of them once more, as if they had been killed after the first epoch.
    """

    def gloo(rank: int, world_size: int) -> None:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world_size)

    with (
        mock.patch.object(run_training, "setup_ddp", gloo),
        mock.patch.object(torch.cuda, "set_device"),
        mock.patch.object(host, "DDP", lambda network, device_ids: DistributedDataParallel(network)),
    ):
        trainings = [*((run, False) for run in RUNS), *((run, True) for run in RESUMED)]
        for port, (run, resume) in zip(ports, trainings, strict=True):
            arguments = RUNS[run]
            os.environ["MASTER_PORT"] = str(port)
            if resume and rank == 0:  # the other one waits for it
                (final,) = Path(os.environ["nnUNet_results"]).glob(f"*/{arguments[3]}__*/fold_0/{FINAL}")
                final.rename(final.with_name(WHOLE))
                final.with_name("checkpoint_first.pth").rename(final.with_name("checkpoint_latest.pth"))
            run_training.run_ddp(rank, *arguments, "nnUNetPlans", False, resume, False, None, False, False, 2)


def node(rank: int, port: int) -> None:
    """One of two nodes with a process each; the second one ends its training before the first."""
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    folder = Path(os.environ["nnUNet_preprocessed"]) / DATASET
    plans, dataset_json = (json.loads((folder / f"{name}.json").read_text()) for name in ("nnUNetPlans", "dataset"))
    with mock.patch.object(host, "DDP", lambda network, device_ids: DistributedDataParallel(network)):
        trainer = find_trainer(NODES)(plans | {"continue_training": False}, "3d_fullres", 0, dataset_json)
        trainer.on_train_start()
    assert trainer.local_rank == 0
    trainer.print_to_log_file(f"written by process {rank}")
    trainer.save_checkpoint(str(Path(trainer.output_folder) / f"by_{rank}.pth"))
    for ending in (1, 0):
        if ending == rank:
            trainer.on_train_end()
        torch.distributed.barrier()
        assert (Path(trainer.output_folder) / "masam_cost.json").exists() == (ending == 0)
        assert (Path(trainer.output_folder) / FINAL).exists() == (ending == 0)
    torch.distributed.destroy_process_group()


def checkpoint(results: Path, run: str, name: str = FINAL) -> dict:
    (path,) = results.glob(f"*/{RUNS[run][3]}__*/fold_0/{name}")
    return torch.load(path, weights_only=False)


@pytest.fixture(scope="module", autouse=True)
def environment(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A seed, SAM's weights, slim checkpoints where there are such weights, and a dataset with a box channel."""
    sam = tmp_path_factory.mktemp("sam") / "sam_small.pth"
    write_sam_file(sam, dict(nnUNetTrainerMASAM_testing_sam.rules.vit))
    boxed = workspace.preprocessed / BOXED
    shutil.copytree(workspace.preprocessed / DATASET, boxed)
    for name, change in (
        ("dataset", lambda content: add_box_channel(content, {})),
        ("nnUNetPlans", lambda content: {**content, "dataset_name": BOXED}),
    ):
        path = boxed / f"{name}.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASAM_SEED", "1")
        patch.setenv("MASAM_CHECKPOINT", str(sam))
        patch.setenv("MASAM_SLIM_CHECKPOINTS", "1")
        yield


@pytest.fixture(scope="module")
def one(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process."""
    results = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_results", str(results))
        for dataset, configuration, _, trainer in RUNS.values():
            make(find_trainer(trainer), workspace, dataset, configuration).run_training()
    return results


@pytest.fixture(scope="module")
def two(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two processes."""
    results = tmp_path_factory.mktemp("two")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(1 + len(RUNS) + len(RESUMED))]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in sockets]
    environment = {name: value for name, value in os.environ.items() if name.startswith(("nnUNet", "MASAM"))}
    environment["nnUNet_results"] = str(results)
    torch.multiprocessing.spawn(process, args=(ports, environment, str(results / "nodes")), nprocs=2)
    return results


def test_one_process_of_all_nodes_saves_locks_and_logs(two: Path) -> None:
    """Both have local rank 0; were the fold locked by both, the second would be refused."""
    (fold,) = two.glob(f"nodes/*/{NODES}__*/fold_0")
    assert [path.name for path in fold.glob("by_*.pth")] == ["by_0.pth"]
    log = "".join(path.read_text() for path in fold.glob("training_log*.txt"))
    assert "written by process 0" in log
    assert "written by process 1" not in log


@pytest.mark.parametrize("run", RUNS)
def test_two_ranks_train_what_one_process_trains(workspace: Workspace, one: Path, two: Path, run: str) -> None:
    """Uneven samples and micro-batches; batch Dice over both ranks; a step that one rank's data makes all skip."""
    expected, found = checkpoint(one, run), checkpoint(two, run, WHOLE if run in RESUMED else FINAL)
    assert_equal_within_rounding(found["network_weights"], expected["network_weights"])
    start = make(find_trainer(RUNS[run][3]), workspace, *RUNS[run][:2])
    start.initialize()
    changes = [
        float((expected["network_weights"][name] - parameter).abs().max())
        for name, parameter in start.masam.named_parameters()
        if parameter.requires_grad
    ]
    assert max(changes) > 1e-4
    losses = [stored["logging"]["train_losses"] for stored in (expected, found)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    logs = [path.read_text() for path in sorted(two.glob(f"*/{RUNS[run][3]}__*/fold_0/training_log*.txt"))]
    assert f"data that is not finite in sample{start.configuration_manager.batch_size - 1}" in logs[0]
    if run == "slim":
        used = identify(os.environ["MASAM_CHECKPOINT"])
        assert found["network_weights"][MARKER] == expected["network_weights"][MARKER]
        assert found["network_weights"][MARKER]["sha256"] == used.sha256
        assert stored_provenance(found) == stored_provenance(expected) == used


@pytest.mark.parametrize("run", RESUMED)
def test_two_ranks_continue_what_they_began(one: Path, two: Path, run: str) -> None:
    expected, found = checkpoint(one, run), checkpoint(two, run)
    assert_equal_within_rounding(found["network_weights"], expected["network_weights"])
    assert stored_provenance(found) == stored_provenance(expected)


def assert_equal_within_rounding(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected.keys() - {MARKER}:
        tensor = expected[name]
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")
