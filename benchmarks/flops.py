"""Floating-point operations of a training sample and a forward pass, counted without computing anything.

    python benchmarks/flops.py      # a minute

One sample is 5 slices of 512 x 512, as in the MA-SAM paper. Gradients are counted where they are computed: frozen
weights have none. Writes ``benchmarks/results/flops.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

from environment import describe_environment

from nnunetv2_masam.planning.cost import count_operations

SLICES, IMAGE_SIZE, NUM_CLASSES = 5, (512, 512), 13
SAMPLES_A_STEP = 24


def main() -> None:
    """Count and write."""
    counts = {vit: count(vit) for vit in ("vit_b", "vit_l", "vit_h")}
    settings = {
        "slices": SLICES,
        "image_size": IMAGE_SIZE,
        "num_classes": NUM_CLASSES,
        "samples_a_step": SAMPLES_A_STEP,
    }
    result = {"environment": describe_environment(), "settings": settings, "teraflop": counts}
    (Path(__file__).parent / "results" / "flops.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def count(vit: str) -> dict[str, float]:
    """10^12 operations of one sample, a multiplication and an addition counting as two."""
    operations = count_operations({"vit": vit, "image_size": IMAGE_SIZE}, SLICES, NUM_CLASSES)
    once, gradients = operations.forward / 1e12, operations.backward / 1e12
    return {
        "forward": round(once, 3),
        "forward_and_backward": round(once + gradients, 3),
        "with_gradient_checkpointing": round(2 * once + gradients, 3),
        "step": round(SAMPLES_A_STEP * (once + gradients), 1),
        "step_with_gradient_checkpointing": round(SAMPLES_A_STEP * (2 * once + gradients), 1),
    }


if __name__ == "__main__":
    main()
