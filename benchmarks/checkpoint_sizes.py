"""Sizes of whole and slim weights for SAM's three ViTs, on random weights of the official files' shapes.

    python benchmarks/checkpoint_sizes.py      # writes up to 6 GB to a temporary folder

Writes ``benchmarks/results/checkpoint-sizes.json``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from environment import describe_environment

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.training.checkpoints import SlimSaving
from nnunetv2_masam.weights import load_sam_checkpoint

INPUT_CHANNELS, NUM_CLASSES, IMAGE_SIZE, SAM_IMAGE_SIZE = 1, 14, (512, 512), (1024, 1024)


def main() -> None:
    """Measure and write."""
    settings = {"input_channels": INPUT_CHANNELS, "num_classes": NUM_CLASSES, "image_size": IMAGE_SIZE}
    sizes = {vit: measure(vit) for vit in ("vit_b", "vit_l", "vit_h")}
    result = {"environment": describe_environment(), "settings": settings, "megabytes": sizes}
    (Path(__file__).parent / "results" / "checkpoint-sizes.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(vit: str) -> dict[str, float]:
    """Megabytes (10^6 bytes) of the weights as saved, whole and slim, and of AdamW's two moments by arithmetic."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        sam_file, whole, slim = (Path(folder) / name for name in ("sam.pth", "whole.pth", "slim.pth"))
        source = MASAM(3, 1, vit=vit, image_size=SAM_IMAGE_SIZE)
        added = {name for name, _ in source.adapter_parameters()}
        sams = {n: t for n, t in source.state_dict().items() if n not in added and ".seg_layers." not in n}
        torch.save(sams, sam_file)
        del source, sams
        network = MASAM(INPUT_CHANNELS, NUM_CLASSES, vit=vit, image_size=IMAGE_SIZE)
        load_sam_checkpoint(network, sam_file)
        torch.save(network.state_dict(), whole)
        with SlimSaving(network, sam_file).applied(network):
            torch.save(network.state_dict(), slim)
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        return {
            "whole": round(whole.stat().st_size / 1e6, 1),
            "slim": round(slim.stat().st_size / 1e6, 1),
            "adamw_state": round(8 * trained / 1e6, 1),
        }


if __name__ == "__main__":
    main()
