"""The planner's memory formula against the bytes that a training step has in use.

    python benchmarks/planner_memory.py                  # on a CPU: real steps, and traces of what a GPU would do
    python benchmarks/planner_memory.py --device cuda    # on a GPU: real steps in bfloat16

Every row runs in a process of its own. Writes ``benchmarks/results/planner-memory-<device>.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from environment import describe_environment
from step_memory import measure_step, trace_step

from nnunetv2_masam.planning.memory import CPU, GPU, MicroBatch, step_bytes

TINY = {"trainable": "all", "fact_rank": 0, "adapter_channels": 48}
# arguments of the network, samples of 5 slices, output channels
RUN = [
    ({"vit": "vit_t", "image_size": [224, 224]}, 1, 3),
    ({"vit": "vit_t", "image_size": [256, 192], **TINY}, 4, 3),
    ({"vit": "vit_t", "image_size": [512, 512]}, 1, 14),
    ({"vit": "lite_medsam", "image_size": [168, 112]}, 2, 3),
    ({"vit": "lite_medsam", "image_size": [168, 112], "gradient_checkpointing": True}, 2, 3),
    ({"vit": "lite_medsam", "image_size": [168, 112], "trainable": "all"}, 1, 3),
    ({"vit": "vit_b", "image_size": [224, 224]}, 1, 3),
    ({"vit": "vit_b", "image_size": [224, 224], "gradient_checkpointing": True}, 1, 3),
]
TRACED = [
    ({"vit": vit, "image_size": [512, 512], "gradient_checkpointing": checkpointing}, 1, 14)
    for vit in ("vit_b", "vit_l", "vit_h")
    for checkpointing in (False, True)
]


def main() -> None:
    """Run the rows in turn, or, called by itself, one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(measure_row(*args.row)))
        return
    if args.device == "cuda":
        rows = [("cuda", *row) for row in RUN + TRACED]
    else:
        rows = [("cpu", *row) for row in RUN] + [("traced like a GPU", *row) for row in TRACED]
    target = Path(__file__).parent / "results" / f"planner-memory-{args.device}.json"
    results: list[dict[str, Any]] = []
    for row in rows:
        command = [sys.executable, __file__, "--row", json.dumps(row)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(results[-1], flush=True)
        content = {"environment": describe_environment(), "settings": {"slices": 5, "seed": 0}, "rows": results}
        target.write_text(json.dumps(content, indent=1) + "\n")


def measure_row(how: str, arch_kwargs: dict[str, Any], samples: int, num_classes: int) -> dict[str, Any]:
    """Predicted and measured GB of a row, and their ratio."""
    height, width = arch_kwargs["image_size"]
    batch = MicroBatch(5 * samples, (height, width), num_classes=num_classes)
    precision = CPU if how == "cpu" else GPU
    if how in ("cpu", "cuda"):
        measured = measure_step(arch_kwargs, batch, device=how, half=how == "cuda")
    else:
        measured = trace_step(arch_kwargs, batch, like_gpu=True)
    predicted = step_bytes(arch_kwargs, batch, precision)
    return {
        "how": how,
        **arch_kwargs,
        "samples": samples,
        "num_classes": num_classes,
        "predicted_gb": round(predicted / 1024**3, 3),
        "measured_gb": round(measured / 1024**3, 3),
        "ratio": round(predicted / measured, 3),
    }


if __name__ == "__main__":
    main()
