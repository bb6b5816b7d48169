"""Compared with the MA-SAM authors' code on weights that are drawn again here; only its outputs are stored.

``data/masam.json`` says how tensors, image and labels were drawn, and what is stored of the outputs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.training.loss import MASAMLoss
from tests.conftest import Golden
from tests.parity.test_authors import RELATIVE, assert_near, our_name

DATA = Path(__file__).parent / "data"


@dataclass
class Seeded:
    """Drawn weights, image and labels, and what the authors' code computes of them."""

    golden: Golden
    image: torch.Tensor
    label: torch.Tensor

    def network(self, kernels: str) -> MASAM:
        network = self.golden.network(1)
        network.kernels = kernels
        return network

    def volume(self) -> torch.Tensor:
        """(B, 1, D, S, S)."""
        return self.image[:, None]


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    config = json.loads((DATA / "masam.json").read_text(encoding="utf-8"))
    generator = np.random.Generator(np.random.PCG64(config["seed"]))
    files: dict[str, dict[str, torch.Tensor]] = {"sam_base": {}, "masam_adapt": {}}
    for entry in config["tensors"]:
        drawn = generator.standard_normal(entry["shape"], dtype=np.float32)
        values = np.float32(entry["offset"]) + np.float32(entry["scale"]) * drawn
        files[entry["file"]][entry["key"]] = torch.from_numpy(values)
    side, stack = config["image_size"], (config["batch"], config["slices"])
    image = generator.random((*stack, side, side), dtype=np.float32)
    label = generator.integers(0, config["num_classes"] + 1, (stack[0] * stack[1], side, side))
    folder = tmp_path_factory.mktemp("seeded")
    for name, tensors in files.items():
        torch.save(tensors, folder / f"{name}.pth")
    with np.load(DATA / "masam.npz") as arrays:
        loaded = {name: arrays[name] for name in arrays}
    config |= {"boxes": False, "global_attn_indexes": ",".join(map(str, config["global_attn_indexes"]))}
    golden = Golden(config, loaded, folder / "sam_base.pth", folder / "masam_adapt.pth")
    return Seeded(golden, torch.from_numpy(image), torch.from_numpy(label))


every_form = pytest.mark.parametrize("kernels", ["plain", "fast"])


@every_form
@pytest.mark.parametrize("autograd", [True, False])
def test_embedding_and_logits(seeded, kernels, autograd):
    network = seeded.network(kernels).eval()
    volume = seeded.volume()
    with torch.set_grad_enabled(autograd):
        embedding = network.image_encoder(volume.transpose(1, 2).flatten(0, 1), volume.shape[2])
        assert_near(embedding[:, ::4], seeded.golden["embedding"])
        logits = network(volume).transpose(1, 2).flatten(0, 1)
        assert_near(logits[..., ::2, ::2], seeded.golden["logits"])


@every_form
def test_loss_and_gradients(seeded, kernels):
    network = seeded.network(kernels).train()
    logits = network(seeded.volume()).transpose(1, 2).flatten(0, 1)
    loss = MASAMLoss()(logits, seeded.label[:, None])
    assert_near(loss, seeded.golden["loss"].float())
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    arrays = seeded.golden.arrays
    theirs = {our_name(str(n)): norm for n, norm in zip(arrays["grad_names"], arrays["grad_norms"], strict=True)}
    assert gradients.keys() == theirs.keys()
    largest = max(theirs.values())
    for name, norm in theirs.items():
        assert abs(gradients[name].norm().item() - norm) < RELATIVE * largest, name
