"""``torch.compile`` of the plain form: one graph, and values and gradients of the eager network."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from nnunetv2_masam.network import MASAM

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="inductor needs a C++ compiler, none is installed"
)


def build() -> MASAM:
    """One block of global attention on 2 x 2 tokens: compiling takes long, whatever the size."""
    torch.manual_seed(0)
    vit = {"embed_dim": 32, "depth": 1, "num_heads": 2, "global_attn_indexes": [0]}
    network = MASAM(1, 2, vit=vit, image_size=(32, 32), fact_rank=2, fact_dropout=0.0, adapter_channels=4)
    network.kernels = "plain"
    for name, parameter in network.named_parameters():
        if not name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    return network


def outputs_and_gradients(call: nn.Module, network: MASAM, x: torch.Tensor) -> list[torch.Tensor]:
    network.train().zero_grad()
    logits = call(x)
    logits.square().mean().backward()
    return [logits.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]


def assert_training_equals_eager(backend: str, dynamic: bool) -> tuple[MASAM, nn.Module]:
    torch._dynamo.reset()
    network = build()
    compiled = torch.compile(network, fullgraph=True, dynamic=dynamic, backend=backend)
    for batch in (2, 3) if dynamic else (2,):
        x = torch.rand(batch, 1, 3, 32, 32)
        results = (outputs_and_gradients(call, network, x) for call in (compiled, network))
        for ours, eager in zip(*results, strict=True):
            torch.testing.assert_close(ours, eager, rtol=1e-4, atol=1e-6)
    return network, compiled


def test_a_training_step_is_one_graph_for_any_batch_size():
    assert_training_equals_eager("eager", dynamic=True)


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=needs_compiler)])
def test_training_and_prediction_equal_eager(backend, dynamic):
    network, compiled = assert_training_equals_eager(backend, dynamic)
    network.eval()
    with torch.no_grad():
        for batch in (2, 3) if dynamic else (2,):
            x = torch.rand(batch, 1, 3, 32, 32)
            torch.testing.assert_close(compiled(x), network(x), rtol=1e-4, atol=1e-6)
