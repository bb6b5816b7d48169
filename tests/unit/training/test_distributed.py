"""Two processes on the CPU: their gradients are those of one process with both samples."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.training.loss import MASAMLoss
from tests.conftest import TINY_VIT

PROMPTS = ("none", "box", "channel")


def build(prompt: str) -> MASAM:
    torch.manual_seed(0)
    network = MASAM(
        1 if prompt == "none" else 2,
        3,
        vit=TINY_VIT,
        image_size=(48, 48),
        fact_rank=4,
        fact_dropout=0.0,
        adapter_channels=8,
        prompt="none" if prompt == "none" else "box",
    )
    nn.init.normal_(network.image_encoder.fact.v.weight, std=0.1)
    return network


def batch(prompt: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(2, 1, 4, 48, 48, generator=generator)
    target = torch.randint(0, 3, (2, 1, 4, 48, 48), generator=generator)
    boxes = torch.tensor([[[4.0, 5.0, 30.0, 40.0]] * 4] * 2) if prompt == "box" else None
    if prompt == "channel":  # the box is in the first sample, so in one of the two processes
        channel = torch.zeros_like(data)
        channel[0, :, 1:3, 5:40, 4:30] = 1
        data = torch.cat([data, channel], dim=1)
    return data, target, boxes


def gradients(network: nn.Module, prompt: str, samples: slice) -> dict[str, torch.Tensor]:
    """Two steps' worth: DDP only complains of an unused parameter in the second."""
    data, target, boxes = batch(prompt)
    loss = MASAMLoss()
    for _ in range(2):
        network.zero_grad(set_to_none=True)
        logits = network(data[samples], None if boxes is None else boxes[samples])
        # sample by sample, so that the mean over processes is the mean over samples
        torch.stack([loss(x[None], y[None]) for x, y in zip(logits, target[samples], strict=True)]).mean().backward()
    return {name.removeprefix("module."): p.grad for name, p in network.named_parameters() if p.grad is not None}


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    for prompt in PROMPTS:
        network = DistributedDataParallel(build(prompt))
        torch.save(gradients(network, prompt, slice(rank, rank + 1)), Path(folder) / f"{prompt}{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the gradients of each prompt and rank."""
    folder = tmp_path_factory.mktemp("gradients")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(worker, args=(port, str(folder)), nprocs=2)
    return folder


@pytest.mark.parametrize("prompt", PROMPTS)
def test_gradients_equal_those_of_one_process(on_two, prompt):
    single = gradients(build(prompt), prompt, slice(None))
    for rank in range(2):
        distributed = torch.load(on_two / f"{prompt}{rank}.pt", weights_only=True)
        assert distributed.keys() == single.keys()
        for name, gradient in single.items():
            torch.testing.assert_close(distributed[name], gradient, rtol=1e-4, atol=1e-7)
