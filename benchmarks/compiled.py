"""``torch.compile`` against the plain form and against the kernels: a forward pass and a training step, in turn.

    python benchmarks/compiled.py
    python benchmarks/compiled.py --vit vit_t

Float32 without autocast on a CPU, nnU-Net's float16 autocast on a GPU, where the network takes bfloat16. Needs a C++
compiler on a CPU. Writes ``benchmarks/results/compiled-<device>.json``: seconds that compiling takes, seconds of every
run after it, medians, and by how much compiled logits and gradients differ from those of the plain form.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from environment import describe_environment
from rate import now
from torch import Tensor, nn
from torch._inductor import config as inductor_config

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.training.loss import MASAMLoss

NUM_CLASSES = 14
SIDES = ("plain", "compiled", "auto")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vit", default="vit_b")
    parser.add_argument("--size", type=int, default=512, help="pixels")
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    inductor_config.force_disable_caches = True  # the first run is to compile
    # dropout draws other numbers when compiled
    sizes = {"image_size": (args.size, args.size), "fact_dropout": 0.0}
    network = MASAM(1, NUM_CLASSES, vit=args.vit, **sizes).to(args.device)
    for name, parameter in network.adapter_parameters():
        if name.endswith("v.weight"):
            nn.init.normal_(parameter, std=0.02)  # FacT's last factor starts at zero, and would hide mistakes
    compiled = torch.compile(network, fullgraph=True)
    volume = torch.rand(1, 1, args.slices, args.size, args.size, device=args.device)
    labels = torch.randint(0, NUM_CLASSES, volume.shape, device=args.device)
    loss = MASAMLoss()

    def run(call: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.autocast(args.device, enabled=args.device == "cuda"):
            return call(volume)

    def forward(call: Callable[[Tensor], Tensor]) -> list[Tensor]:
        network.eval()
        with torch.no_grad():
            return [run(call)]

    def step(call: Callable[[Tensor], Tensor]) -> list[Tensor]:
        network.train().zero_grad()
        loss(run(call), labels).backward()
        return [p.grad for p in network.parameters() if p.grad is not None]

    result: dict[str, object] = {
        "environment": describe_environment(),
        "settings": {k: str(v) for k, v in vars(args).items()} | {"seed": 0, "num_classes": NUM_CLASSES},
    }
    target = Path(__file__).parent / "results" / f"compiled-{args.device}.json"
    for name, measured in (("forward pass", forward), ("forward and backward pass", step)):
        result[name] = compare(measured, network, compiled, args.repeats, args.device)
        target.write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result[name], indent=1), flush=True)


def compare(
    measured: Callable[[Callable[[Tensor], Tensor]], list[Tensor]],
    network: MASAM,
    compiled: Callable[[Tensor], Tensor],
    repeats: int,
    device: str,
) -> dict[str, object]:
    """Seconds by side, in turn, the first run of each apart, and the largest difference from the plain form."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    outputs: dict[str, list[Tensor]] = {}
    for _ in range(repeats + 1):
        for side in SIDES:
            network.kernels = "auto" if side == "auto" else "plain"
            started = now(device)
            outputs[side] = [tensor.clone() for tensor in measured(compiled if side == "compiled" else network)]
            seconds[side].append(round(now(device) - started, 3))
    medians = {side: statistics.median(runs[1:]) for side, runs in seconds.items()}
    largest = max(float(tensor.abs().max()) for tensor in outputs["plain"])
    return {
        "seconds_of_the_first_run": {side: runs[0] for side, runs in seconds.items()},
        "seconds": {side: runs[1:] for side, runs in seconds.items()},
        "median_seconds": medians,
        "times_as_fast_as_plain": {side: round(medians["plain"] / median, 3) for side, median in medians.items()},
        "largest_difference_of_largest_value": {
            side: max(float((a - b).abs().max()) for a, b in zip(values, outputs["plain"], strict=True)) / largest
            for side, values in outputs.items()
        },
    }


if __name__ == "__main__":
    main()
