"""A training step: time and peak memory of ours against the authors' code, same weights and optimiser, in turn.

    python benchmarks/train_step.py --reference MA-SAM     # how to get it: benchmarks/reference.py

The loss is the same function, computed by each side's own code. Every side runs in a process of its own, so that its
peak is its own. Memory is what the allocator has handed out at once and, on a CPU, also what the operating system
counts as resident. Writes ``benchmarks/results/train-step-<device>.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from environment import describe_environment
from reference import build_ours, build_theirs, comparison_parser, their_logits, their_loss
from step_memory import peak_of_allocations

from nnunetv2_masam.training.loss import MASAMLoss

GB = 1024**3
SIDES = ("theirs", "ours", "ours checkpointed")


def main() -> None:
    """Run the sides in turn, or, called by itself, one of them."""
    parser = comparison_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="processes of each side")
    parser.add_argument("--steps", type=int, default=2, help="steps counted in each process, after one more")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args)))
        return
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(args.repeats):
        for side in SIDES:
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs[side].append(json.loads(done.stdout.splitlines()[-1]))
            print(side, runs[side][-1], flush=True)
    seconds = {side: statistics.median(run["seconds"] for run in runs[side]) for side in SIDES}
    peaks = {side: statistics.median(run["peak_gb"] for run in runs[side]) for side in SIDES}
    resident = {side: statistics.median(run.get("resident_gb", 0) for run in runs[side]) for side in SIDES}
    result = {
        "environment": describe_environment(),
        "settings": {k: str(v) for k, v in vars(args).items() if k not in ("reference", "side")} | {"seed": 0},
        "runs": runs,
        "median_seconds": seconds,
        "median_peak_gb": peaks,
        "median_resident_gb": resident,
        "times_as_fast_as_theirs": {side: round(seconds["theirs"] / s, 2) for side, s in seconds.items()},
        "share_of_their_memory": {side: round(peak / peaks["theirs"], 3) for side, peak in peaks.items()},
    }
    target = Path(__file__).parent / "results" / f"train-step-{args.device}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Median seconds of a step, peak memory in GB, and the last loss, of one side in this process."""
    torch.manual_seed(0)
    network = build_theirs(args.reference, args.vit, args.size, num_classes=13)
    if args.side != "theirs":
        network = build_ours(
            network, args.vit, args.size, num_classes=13, gradient_checkpointing=args.side == "ours checkpointed"
        )
    network = network.train().to(args.device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.1)
    loss_of = their_loss(num_classes=13) if args.side == "theirs" else _our_loss
    volume = torch.rand(1, 1, args.slices, args.size, args.size, device=args.device)
    labels = torch.randint(0, 14, (args.slices, args.size, args.size), device=args.device)

    def step() -> float:
        optimizer.zero_grad()
        if args.side == "theirs":
            logits = their_logits(network, volume)
        else:
            logits = network(volume).transpose(1, 2).flatten(0, 1)
        loss = loss_of(logits, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    seconds = []
    for _ in range(args.steps + 1):
        started = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - started)
    result = {"seconds": statistics.median(seconds[1:]), "loss": loss}
    if args.device == "cuda":
        return result | {"peak_gb": torch.cuda.max_memory_allocated() / GB}
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    optimizer.zero_grad()
    moments = [t for state in optimizer.state.values() for t in state.values()]
    kept = sum(t.numel() * t.element_size() for t in [*network.parameters(), *network.buffers(), *moments])
    return result | {"peak_gb": (kept + peak_of_allocations(step)) / GB, "resident_gb": resident / GB}


def _our_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return MASAMLoss()(logits, labels[:, None])


if __name__ == "__main__":
    main()
