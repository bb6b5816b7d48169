"""3D UX-Net and nnFormer with weights and images drawn from a seed, and what the authors' code computes with them.

``data/baselines.npz`` holds what the authors' code computes in float64, where no rounding moves an activation across a
kink; ``data/baselines.json`` what is drawn. Both are written by

    git clone https://github.com/MASILab/3DUX-Net && git -C 3DUX-Net checkout 14ea46b
    git clone https://github.com/282857341/nnFormer && git -C nnFormer checkout d48aaeb
    python -m tests.parity.seeded_baselines --uxnet 3DUX-Net --nnformer nnFormer

The authors' code is imported from there and never copied. 3D UX-Net's output layer is the one thing changed: it takes
48 channels there, and as many as the first stage has here.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor, nn

DATA = Path(__file__).parent / "data"
STRIDE = 4  # of the logits and the image's gradient, along each axis

CASES: dict[str, dict[str, Any]] = {
    "uxnet": {
        "seed": 11,
        "input_shape": [1, 2, 32, 32, 48],
        "outputs": [[1, 3, 32, 32, 48]],
        "arguments": {
            "in_chans": 2,
            "out_chans": 3,
            "depths": [1, 2, 1, 1],
            "feat_size": [4, 6, 8, 10],
            "hidden_size": 12,
        },
    },
    # windows that do not divide the token grid, and shifted ones
    "nnformer": {
        "seed": 12,
        "input_shape": [1, 2, 32, 64, 96],
        "outputs": [[1, 3, 32 >> level, 64 >> level, 96 >> level] for level in range(3)],
        "arguments": {
            "crop_size": [32, 64, 96],
            "embedding_dim": 12,
            "input_channels": 2,
            "num_classes": 3,
            "depths": [2, 2, 2, 2],
            "num_heads": [1, 2, 4, 8],
            "patch_size": [2, 4, 4],
            "window_size": [4, 4, 8, 4],
        },
    },
}
DRAWN = (
    "numpy.random.Generator(numpy.random.PCG64(seed)); first the tensors in order, each o + s * "
    "standard_normal(shape): o = 1, s = 0.1 for 1-d names that end with .weight; o = 0, s = 0.1 for other 1-d tensors; "
    "o = 0, s = (shape[0] / size) ** 0.5 for all others; then image = standard_normal(input_shape); then for each "
    "output w = standard_normal(shape)"
)
STORED = (
    "in float32, computed in float64 in evaluation mode: logits_i and image_grad, every fourth voxel along each axis; "
    "grad_norms, L2 norms of the gradients of all tensors in order (nan where there is none); the loss is the sum over "
    "outputs of mean(output * w)"
)


class Drawn:
    """State dict with the authors' key names, image, and weights of the loss, all float64."""

    def __init__(self, seed: int, tensors: Mapping[str, Sequence[int]], case: Mapping[str, Any]) -> None:
        generator = np.random.Generator(np.random.PCG64(seed))

        def draw(shape: Sequence[int]) -> Tensor:
            return torch.from_numpy(generator.standard_normal(shape))

        self.state_dict = {}
        for name, shape in tensors.items():
            if len(shape) == 1:
                offset, scale = float(name.endswith(".weight")), 0.1
            else:
                offset, scale = 0.0, math.sqrt(shape[0] / math.prod(shape))
            self.state_dict[name] = offset + scale * draw(shape)
        self.image = draw(case["input_shape"]).requires_grad_()
        self.loss_weights = [draw(shape) for shape in case["outputs"]]

    def compute(self, network: nn.Module) -> tuple[list[Tensor], Tensor]:
        """Logits of all outputs and the image's gradient, every fourth voxel; ``network`` gets its gradients."""
        outputs = network(self.image)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        pairs = zip(outputs, self.loss_weights, strict=True)
        torch.stack([(output * weights).mean() for output, weights in pairs]).sum().backward()
        assert self.image.grad is not None
        every = (..., *[slice(None, None, STRIDE)] * 3)
        return [output.detach()[every] for output in outputs], self.image.grad[every]


def authors_uxnet(checkout: Path, arguments: Mapping[str, Any]) -> nn.Module:
    """3D UX-Net of the authors' code."""
    for name in ("lib.utils.tools.logger", "lib.models.tools.module_helper"):  # for what does not run here
        sys.modules[name] = MagicMock()
    sys.path.insert(0, str(checkout))
    from networks.UXNet_3D.network_backbone import UXNET

    network = UXNET(**arguments)
    network.out.conv.conv = nn.Conv3d(arguments["feat_size"][0], arguments["out_chans"], 1)
    return network


def authors_nnformer(checkout: Path, arguments: Mapping[str, Any]) -> nn.Module:
    """nnFormer of the authors' code."""
    for name in ("nnformer.utilities.nd_softmax", "nnformer.network_architecture.initialization"):
        sys.modules[name] = MagicMock()
    sys.modules["nnformer.network_architecture.neural_network"] = MagicMock(SegmentationNetwork=nn.Module)
    sys.path.insert(0, str(checkout))
    from nnformer.network_architecture.nnFormer_synapse import nnFormer

    return nnFormer(**arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uxnet", type=Path, required=True, help="checkout of MASILab/3DUX-Net")
    parser.add_argument("--nnformer", type=Path, required=True, help="checkout of 282857341/nnFormer")
    args = parser.parse_args()
    arrays: dict[str, np.ndarray] = {}
    described: dict[str, Any] = {"drawn": DRAWN, "stored": STORED, "made_by": "tests/parity/seeded_baselines.py"}
    for name, case in CASES.items():
        build = authors_uxnet if name == "uxnet" else authors_nnformer
        network = build(getattr(args, name), case["arguments"]).double().eval()
        tensors = {key: list(parameter.shape) for key, parameter in network.named_parameters()}
        drawn = Drawn(case["seed"], tensors, case)
        left = network.load_state_dict(drawn.state_dict, strict=False)
        assert all(key.endswith("relative_position_index") for key in left.missing_keys), left
        logits, image_grad = drawn.compute(network)
        norms = [math.nan if p.grad is None else p.grad.norm().item() for p in network.parameters()]
        stored = {"image_grad": image_grad.numpy(), "grad_norms": np.array(norms)}
        stored |= {f"logits_{index}": output.numpy() for index, output in enumerate(logits)}
        arrays |= {f"{name}_{key}": array.astype(np.float32) for key, array in stored.items()}
        described[name] = {**case, "tensors": tensors}
    np.savez_compressed(DATA / "baselines.npz", **arrays)
    (DATA / "baselines.json").write_text(json.dumps(described) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
