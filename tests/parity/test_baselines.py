"""3D UX-Net and nnFormer compared with what their authors' code computes on small random weights.

Weights that are drawn again here are compared in float64, where both networks compute the authors' numbers. The data
beside the checkout were computed in float32. 3D UX-Net's LeakyReLUs have a kink at zero: a preactivation that rounding
moves across it changes some gradients by a hundredth of the largest. ``data/uxnet_signs.json`` has the signs that the
authors' preactivations within 1e-5 of zero had; with these, gradients agree, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("monai.networks.blocks")

from nnunetv2_masam.baselines import NNFormer, UXNet3D
from tests.parity.baseline_names import NNFORMER_KEYS, UXNET_KEYS, load_authors_weights, our_key
from tests.parity.seeded_baselines import DATA, Drawn

SHARED = Path(__file__).resolve().parents[3] / "shared" / "parity"
SEEDS = {"uxnet": 1, "nnformer": 2, "nnformer_padded": 3}  # of the weights in the loss, the first output's


def assert_near(ours: Any, theirs: Any, tolerance: float) -> None:
    """Agree to that part of the largest value."""
    ours, theirs = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * theirs.abs().max().item())


def gradient_norms(network: nn.Module, names: Sequence[str]) -> list[float]:
    """Of all parameters that have a gradient, which are those of the authors' ``names``."""
    table = UXNET_KEYS if isinstance(network, UXNet3D) else NNFORMER_KEYS
    norms = {name: p.grad.norm().item() for name, p in network.named_parameters() if p.grad is not None}
    assert {our_key(name, table) for name in names} == set(norms)
    return [norms[our_key(name, table)] for name in names]


@pytest.mark.parametrize(("case", "build"), [("uxnet", UXNet3D), ("nnformer", NNFormer)])
def test_drawn_weights(case, build):
    config = json.loads((DATA / "baselines.json").read_text(encoding="utf-8"))[case]
    drawn = Drawn(config["seed"], config["tensors"], config)
    network = build(**config["arguments"]).double().eval()
    load_authors_weights(network, drawn.state_dict)
    logits, image_grad = drawn.compute(network)
    with np.load(DATA / "baselines.npz") as theirs:
        for index, output in enumerate(logits):
            assert_near(output, theirs[f"{case}_logits_{index}"], 1e-6)
        assert_near(image_grad, theirs[f"{case}_image_grad"], 1e-6)
        assert_near(gradient_norms(network, list(config["tensors"])), theirs[f"{case}_grad_norms"], 1e-6)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no parity data beside the checkout")
@pytest.mark.parametrize("case", SEEDS)
def test_stored_weights(case):
    config = json.loads((SHARED / case / "config.json").read_text(encoding="utf-8"))
    arguments = {key: value for key, value in config.items() if key not in ("input_shape", "logits")}
    network = (UXNet3D if case == "uxnet" else NNFormer)(**arguments).eval()
    load_authors_weights(network, torch.load(SHARED / case / "weights.pth"))
    if case == "uxnet":
        take_signs(network)

    golden = np.load(SHARED / case / "golden.npz")
    image = torch.from_numpy(golden["image"]).float().requires_grad_()
    outputs = network(image)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    loss = torch.zeros(())
    for index, output in enumerate(outputs):
        assert_near(output.detach()[..., ::2, ::2, ::2], golden[f"logits_{index}"], 1e-5)
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(SEEDS[case] + index))
        loss = loss + (output * weights).mean()
    loss.backward()
    assert_near(image.grad, golden["image_grad"], 1e-5)
    assert_near(gradient_norms(network, golden["grad_names"].tolist()), golden["grad_norms"], 1e-5)


class LeakyReLUWithSigns(nn.Module):
    """A LeakyReLU that is given the signs of values close to zero, one dict for each call."""

    def __init__(self, calls: Sequence[Mapping[str, list[int]]]) -> None:
        super().__init__()
        self.calls: Iterator[Mapping[str, list[int]]] = iter(calls)

    def forward(self, x: Tensor) -> Tensor:
        positive, signs = x > 0, next(self.calls)
        for sign in ("positive", "negative"):
            assert (x.flatten()[signs[sign]].abs() < 3e-5).all(), "not close to zero"
            positive.view(-1)[signs[sign]] = sign == "positive"
        return torch.where(positive, x, 0.01 * x)


def take_signs(network: nn.Module) -> None:
    """Give 3D UX-Net the authors' signs, and expect that it uses all of them."""
    signs = json.loads((DATA / "uxnet_signs.json").read_text(encoding="utf-8"))["signs"]
    activations = {name for name, module in network.named_modules() if isinstance(module, nn.LeakyReLU)}
    assert activations == set(signs)
    for name in activations:
        network.set_submodule(name, LeakyReLUWithSigns(signs[name]))


@pytest.mark.parametrize(("network", "parameters"), [(UXNet3D, 53_006_510), (NNFormer, 150_054_210)])
def test_published_sizes(network, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in network(1, 14).parameters()) == parameters
