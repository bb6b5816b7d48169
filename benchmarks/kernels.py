"""The ways to compute blocks: a forward pass and a training step of ViT-B, each way on and off, in turn.

    python benchmarks/kernels.py
    python benchmarks/kernels.py --part forward     # or step: one of the two
    python benchmarks/kernels.py --traced           # memory only, by arithmetic, on any machine

Seconds are medians of runs without autocast, in float32 on a CPU; peak memory is what the allocator has handed out at
once beyond weights and moments. What a deep tile of prediction gains is measured on three blocks. A way stays if it
makes one of these 1.15 times as fast or takes a fifth off its peak memory. Writes
``benchmarks/results/kernels-<part>-<device>.json``. Traced, the sizes of tensors without content are added up, weights,
gradients, moments and nnU-Net's loss among them; that goes to ``kernels-traced.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from environment import describe_environment
from rate import now
from step_memory import peak_of_allocations, trace_forward, trace_step

from nnunetv2_masam.architecture import PATCH_SIZE
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network import image_encoder as encoder_module
from nnunetv2_masam.network.attention_by_parts import attention_by_parts
from nnunetv2_masam.network.block import PLAIN, Computation
from nnunetv2_masam.planning.memory import MicroBatch
from nnunetv2_masam.training.loss import MASAMLoss

NUM_CLASSES = 14
SIDES = {
    "plain": PLAIN,
    "adapters recomputed": Computation(recompute=True),
    "attention by parts": Computation(attention_by_parts),
    "a few slices at a time": Computation(by_slices=True),
    "fast": Computation(attention_by_parts, recompute=True),
    "fast prediction": Computation(attention_by_parts, by_slices=True),
}
STEP = ("plain", "adapters recomputed", "attention by parts", "fast")
FORWARD = DEEP = ("plain", "attention by parts", "a few slices at a time", "fast prediction")
DEEP_BLOCKS, DEEP_SLICES = 3, 40  # two blocks with windows, one with global attention
GB = 1024**3


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vit", default="vit_b")
    parser.add_argument("--size", type=int, default=512, help="pixels")
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=("forward", "step"), help="one of the two")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--traced", action="store_true", help="memory only, without running anything")
    args = parser.parse_args()
    if args.traced:
        trace(args)
        return
    torch.manual_seed(0)
    network = MASAM(1, NUM_CLASSES, vit=args.vit, image_size=(args.size, args.size)).to(args.device)
    volume = torch.rand(1, 1, args.slices, args.size, args.size, device=args.device)
    labels = torch.randint(0, NUM_CLASSES, (1, 1, args.slices, args.size, args.size), device=args.device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    grid = args.size // PATCH_SIZE
    deep_tokens = torch.rand(DEEP_SLICES, grid, grid, network.vit.embed_dim, device=args.device)

    def forward() -> None:
        network.eval()
        with torch.inference_mode():
            network(volume)

    def deep() -> None:
        encoder = network.eval().image_encoder
        with torch.inference_mode():
            x = deep_tokens
            computation = encoder_module.choose_computation(network.kernels, encoder.blocks, x)
            for block in encoder.blocks[:DEEP_BLOCKS]:
                x = block(x, encoder.fact, DEEP_SLICES, computation)

    def step() -> None:
        network.train()
        optimizer.zero_grad()
        MASAMLoss()(network(volume), labels).backward()
        optimizer.step()

    parts = {
        "forward": [
            ("forward pass", forward, FORWARD),
            (f"{DEEP_BLOCKS} blocks, {DEEP_SLICES} slices", deep, DEEP),
        ],
        "step": [("training step", step, STEP)],
    }
    for part in (args.part,) if args.part else parts:
        result: dict[str, object] = {
            "environment": describe_environment(),
            "settings": {k: str(v) for k, v in vars(args).items()} | {"seed": 0, "num_classes": NUM_CLASSES},
        }
        for name, run, sides in parts[part]:
            result[name] = compare(run, sides, args.repeats, args.device)
            print(json.dumps(result[name], indent=1), flush=True)
        target = Path(__file__).parent / "results" / f"kernels-{part}-{args.device}.json"
        target.write_text(json.dumps(result, indent=1) + "\n")


def trace(args: argparse.Namespace) -> None:
    """Peak memory of a forward pass and of a training step by side, and a file of it."""
    batch = MicroBatch(args.slices, (args.size, args.size), num_classes=NUM_CLASSES)
    result = {
        "environment": describe_environment(),
        "settings": {"vit": args.vit, "size": args.size, "slices": args.slices, "num_classes": NUM_CLASSES},
    }
    for name, measure, sides in (("forward pass", trace_forward, FORWARD), ("training step", trace_step, STEP)):
        peaks = {}
        for side in sides:
            if SIDES[side].by_slices:  # on a CPU only
                continue
            with only(side):
                peaks[side] = measure({"vit": args.vit, "image_size": (args.size, args.size)}, batch) / GB
        result[name] = {
            "peak_gb": {side: round(peak, 3) for side, peak in peaks.items()},
            "share_of_plain_memory": {side: round(peak / peaks["plain"], 3) for side, peak in peaks.items()},
        }
    target = Path(__file__).parent / "results" / "kernels-traced.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def compare(run: Callable[[], None], sides: tuple[str, ...], repeats: int, device: str) -> dict[str, dict[str, object]]:
    """Seconds and peak memory of every side, taken in turn."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(repeats + 1):
        for side in sides:
            with only(side):
                started = now(device)
                run()
                if repeat:  # the first of each warms up
                    seconds[side].append(round(now(device) - started, 2))
    peaks = {}
    for side in sides:
        with only(side):
            peaks[side] = _peak_gb(run, device)
    return {
        side: {
            "seconds": seconds[side],
            "median_seconds": statistics.median(seconds[side]),
            "times_as_fast_as_plain": round(statistics.median(seconds["plain"]) / statistics.median(seconds[side]), 2),
            "peak_gb": round(peaks[side], 3),
            "share_of_plain_memory": round(peaks[side] / peaks["plain"], 3),
        }
        for side in sides
    }


def _peak_gb(run: Callable[[], None], device: str) -> float:
    if device == "cpu":
        return peak_of_allocations(run) / GB
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() / GB


@contextmanager
def only(side: str) -> Iterator[None]:
    """The image encoder computed in one way."""
    with mock.patch.object(encoder_module, "choose_computation", return_value=SIDES[side]):
        yield


if __name__ == "__main__":
    main()
