"""A forward pass: ours against the authors' code, same weights, same input, in turn.

    python benchmarks/forward.py --reference MA-SAM        # how to get it: benchmarks/reference.py

Writes ``benchmarks/results/forward-<device>.json``: seconds of every run, medians, ratios, differences of the logits.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from environment import describe_environment
from reference import build_ours, build_theirs, comparison_parser, their_logits
from torch import Tensor


def main() -> None:
    """Measure and write."""
    parser = comparison_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    theirs = build_theirs(args.reference, args.vit, args.size, num_classes=13)
    ours = build_ours(theirs, args.vit, args.size, num_classes=13).eval().to(args.device)
    theirs = theirs.eval().to(args.device)
    volume = torch.rand(1, 1, args.slices, args.size, args.size, device=args.device)

    sides: dict[str, Callable[[], Tensor]] = {
        "theirs float32": lambda: their_logits(theirs, volume),
        "ours float32": lambda: ours(volume).transpose(1, 2).flatten(0, 1),
        "ours bfloat16": lambda: _in_bfloat16(lambda: ours(volume), args.device).transpose(1, 2).flatten(0, 1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    logits: dict[str, Tensor] = {}
    with torch.inference_mode():
        for repeat in range(args.repeats + 1):
            for name, run in sides.items():
                started = time.perf_counter()
                logits[name] = run().float()
                if args.device == "cuda":
                    torch.cuda.synchronize()
                if repeat:  # the first of each warms up
                    seconds[name].append(round(time.perf_counter() - started, 3))
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    expected = logits["theirs float32"]
    result = {
        "environment": describe_environment(),
        "settings": {k: str(v) for k, v in vars(args).items() if k != "reference"} | {"seed": 0},
        "seconds": seconds,
        "median_seconds": medians,
        "times_as_fast_as_theirs": {name: round(medians["theirs float32"] / m, 2) for name, m in medians.items()},
        "largest_difference_of_largest_logit": {
            name: float((value - expected).abs().max() / expected.abs().max()) for name, value in logits.items()
        },
    }
    target = Path(__file__).parent / "results" / f"forward-{args.device}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _in_bfloat16(run: Callable[[], Tensor], device: str) -> Tensor:
    with torch.autocast(device, dtype=torch.bfloat16):
        return run()


if __name__ == "__main__":
    main()
