"""3D UX-Net and nnFormer against what their authors' code computes on small random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("monai.networks.blocks")

from nnunetv2_masam.baselines import NNFormer, UXNet3D, load_authors_weights
from nnunetv2_masam.baselines.authors import NNFORMER_KEYS, UXNET_KEYS, our_key

DATA = Path(__file__).resolve().parents[3] / "shared" / "parity"
SEEDS = {"uxnet": 1, "nnformer": 2, "nnformer_padded": 3}  # of the weights in the loss, the first output's


def build(config: dict) -> torch.nn.Module:
    arguments = {key: value for key, value in config.items() if key not in ("input_shape", "logits")}
    return UXNet3D(**arguments) if "in_chans" in config else NNFormer(**arguments)


@pytest.mark.skipif(not DATA.is_dir(), reason="no parity data beside the checkout")
@pytest.mark.parametrize("case", SEEDS)
def test_logits_and_gradients_are_the_authors(case):
    folder = DATA / case
    network = build(json.loads((folder / "config.json").read_text(encoding="utf-8"))).eval()
    state_dict = torch.load(folder / "weights.pth")
    report = load_authors_weights(network, state_dict)
    assert (report.fresh, report.unknown) == ((), ())
    assert len(report.loaded) + len(report.checked) == len(state_dict)

    golden = np.load(folder / "golden.npz")
    image = torch.from_numpy(golden["image"]).float().requires_grad_()
    outputs = network(image)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    loss = torch.zeros(())
    for index, output in enumerate(outputs):
        largest_error(output.detach()[..., ::2, ::2, ::2], golden[f"logits_{index}"])
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(SEEDS[case] + index))
        loss = loss + (output * weights).mean()
    loss.backward()
    # UX-Net's decoder has LeakyReLUs: where rounding moves a value across zero, gradients around it change by far more
    # than rounding. In float32 and float64 the same network differs as much from itself
    tolerance = 1e-5 if case != "uxnet" else 3e-4
    image_grad = torch.from_numpy(golden["image_grad"])
    assert (image.grad - image_grad).norm() <= 10 * tolerance * image_grad.norm()
    if case != "uxnet":
        largest_error(image.grad, golden["image_grad"])
    table = UXNET_KEYS if case == "uxnet" else NNFORMER_KEYS
    norms = {name: p.grad.norm().item() for name, p in network.named_parameters() if p.grad is not None}
    names = [our_key(name, table) for name in golden["grad_names"].tolist()]
    assert set(names) == set(norms)
    largest_error(np.array([norms[name] for name in names]), golden["grad_norms"], tolerance)


def largest_error(ours, theirs, tolerance: float = 1e-5) -> None:
    """Agree to that part of the largest value."""
    ours, theirs = torch.as_tensor(ours), torch.as_tensor(theirs)
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=0, atol=tolerance * theirs.abs().max().item())


@pytest.mark.parametrize(("network", "parameters"), [(UXNet3D, 53_006_510), (NNFormer, 150_054_210)])
def test_published_sizes(network, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in network(1, 14).parameters()) == parameters
