"""Shared fixtures. Data that do not belong to the repository are looked for in ``../shared``; tests skip without."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.weights import load_masam_checkpoint, load_sam_checkpoint

SHARED = Path(__file__).resolve().parents[2] / "shared"

TINY_STAGES = {
    "widths": [8, 16, 24],
    "depths": [1, 1, 2],
    "num_heads": [2, 2],
    "windows": [7, 14],
    "merge_strides": [2, 2],
    "patch_stride": 1,
    "input_range": [-2.5, 2.0],
}
TINY_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1]}


@dataclass
class Golden:
    """What the authors' code computes on small random weights."""

    config: dict[str, Any]
    arrays: dict[str, np.ndarray]
    sam_base: Path
    masam_adapt: Path

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name])

    def network(self, input_channels: int) -> MASAM:
        """Our network with the golden weights, dropout off."""
        config = self.config
        network = MASAM(
            input_channels + config["boxes"],
            config["num_classes"] + 1,
            vit={
                "embed_dim": config["embed_dim"],
                "depth": config["depth"],
                "num_heads": config["num_heads"],
                "global_attn_indexes": [int(i) for i in config["global_attn_indexes"].split(",")],
            },
            image_size=(config["image_size"], config["image_size"]),
            fact_rank=config["rank"],
            fact_scale=config["scale"],
            fact_dropout=0.0,
            adapter_channels=config["adapter_channels"],
            prompt="box" if config["boxes"] else "none",
        )
        load_sam_checkpoint(network, self.sam_base)
        load_masam_checkpoint(network, self.masam_adapt)
        return network

    def image(self, input_channels: int) -> torch.Tensor:
        """(B, C, D, S, S), the one channel repeated."""
        return self["image"].float()[:, None].expand(-1, input_channels, -1, -1, -1)

    def boxes(self) -> torch.Tensor | None:
        """(B, D, 4), or None."""
        if not self.config["boxes"]:
            return None
        return self["boxes_xyxy"].view(self.config["batch"], self.config["slices"], 4)


@pytest.fixture(scope="session", params=["tiny", "tiny_boxes"])
def golden(request: pytest.FixtureRequest) -> Golden:
    """Without prompts, and with boxes; to be read only."""
    folder = SHARED / "parity" / request.param
    if not folder.is_dir():
        pytest.skip(f"parity data not found in {folder}")
    with np.load(folder / "golden.npz") as arrays:
        loaded = {name: arrays[name] for name in arrays}
    config = json.loads((folder / "config.json").read_text())
    weights = SHARED / "parity" / "tiny"
    return Golden(config, loaded, weights / "sam_base.pth", weights / "masam_adapt.pth")
