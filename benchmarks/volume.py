"""A volume: the authors' procedure with their code against nnU-Net's sliding window with ours, same weights.

    python benchmarks/volume.py --reference MA-SAM         # how to get it: benchmarks/reference.py

The authors run five slices for every slice of the volume and average the softmax of the five passes that cover a slice.
Theirs ends with labels, ours with the logits that nnU-Net's export takes over. The limit is the time that the matrix
products of one deep tile take at the rate of a large product, measured in the same run.
Writes ``benchmarks/results/volume-<device>.json``. What the ways of covering a volume do to the result is the subject
of ``benchmarks/prediction_depth.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from environment import describe_environment
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from rate import rate_of_a_large_product
from reference import build_ours, build_theirs, comparison_parser, their_logits
from torch import Tensor, nn

from nnunetv2_masam.planning.cost import count_products

STACK = 5
NUM_CLASSES = 13


def main() -> None:
    """Measure and write."""
    parser = comparison_parser(__doc__, slices=40)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    rate = rate_of_a_large_product(args.device)
    theirs = build_theirs(args.reference, args.vit, args.size, NUM_CLASSES)
    ours = build_ours(theirs, args.vit, args.size, NUM_CLASSES).eval().to(args.device)
    theirs = theirs.eval().to(args.device)
    volume = torch.rand(1, args.slices, args.size, args.size)

    def by_tiles_of(depth: int, mirror: bool) -> Callable[[], object]:
        predictor = make_predictor(ours, (depth, args.size, args.size), torch.device(args.device), mirror)
        return lambda: predictor.predict_sliding_window_return_logits(volume)

    with torch.inference_mode(), count_products() as counter:
        ours(volume[None, :, :STACK].to(args.device))
    operations = counter.get_total_flops() * args.slices / STACK
    limit = {
        "gigaflop_per_second_of_a_large_product": round(rate / 1e9),
        "teraflop_of_matrix_products": round(operations / 1e12, 2),
        "seconds": round(operations / rate, 2),
    }
    print(limit, flush=True)
    sides: dict[str, Callable[[], object]] = {
        "theirs": lambda: their_procedure(theirs, volume[0], args.device),
        f"ours, tiles of {STACK}": by_tiles_of(STACK, mirror=False),
        f"ours, tiles of {args.slices}": by_tiles_of(args.slices, mirror=False),
        f"ours, tiles of {args.slices}, mirrored in plane": by_tiles_of(args.slices, mirror=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with torch.inference_mode():
        their_logits(theirs, volume[None, :, :STACK].to(args.device))  # warm up
        ours(volume[None, :, :STACK].to(args.device))
        for _ in range(args.repeats):
            for name, run in sides.items():
                started = time.perf_counter()
                run()
                seconds[name].append(round(time.perf_counter() - started, 2))
                write(args, {name: runs for name, runs in seconds.items() if runs}, limit)


def write(args: argparse.Namespace, seconds: dict[str, list[float]], limit: dict[str, float]) -> None:
    """The result file, as far as it goes."""
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    result = {
        "environment": describe_environment(),
        "settings": {k: str(v) for k, v in vars(args).items() if k != "reference"} | {"seed": 0},
        "seconds": seconds,
        "median_seconds": medians,
        "times_as_fast_as_theirs": {name: round(medians["theirs"] / m, 2) for name, m in medians.items()},
        "limit_of_one_deep_tile": limit | {"times_as_fast_as_theirs": round(medians["theirs"] / limit["seconds"], 2)},
    }
    target = Path(__file__).parent / "results" / f"volume-{args.device}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(medians, flush=True)


def their_procedure(theirs: nn.Module, volume: Tensor, device: str) -> np.ndarray:
    """Labels of a volume (D, S, S) of the network's input size, step by step as the authors' ``test.py``."""
    margin = STACK // 2
    padded = torch.cat([volume[:1]] * margin + [volume] + [volume[-1:]] * margin)
    total = np.zeros((*padded.shape, NUM_CLASSES + 1), dtype=np.float32)
    passes = np.ones_like(total)
    for start in range(len(volume)):
        stack = padded[start : start + STACK][None, None].to(device)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device == "cuda"):  # as nnU-Net has it for ours
            logits = their_logits(theirs, stack)
        probabilities = logits.float().softmax(dim=1).permute(0, 2, 3, 1).cpu().numpy()
        total[start : start + STACK] += probabilities
        passes[start : start + STACK] += 1
    return (total / passes).argmax(axis=-1)[margin:-margin]


def make_predictor(
    network: nn.Module,
    tile: tuple[int, int, int],
    device: torch.device,
    mirror: bool,
    num_classes: int = NUM_CLASSES + 1,
) -> nnUNetPredictor:
    """nnU-Net's predictor with its default settings, but for mirroring."""
    predictor = nnUNetPredictor(
        use_mirroring=mirror, perform_everything_on_device=device.type == "cuda", device=device, allow_tqdm=False
    )
    configuration = {"patch_size": list(tile), "architecture": {}}
    plans = PlansManager({"plans_name": "benchmark", "configurations": {"3d_fullres": configuration}})
    labels = {"background": 0} | {f"class {k}": k for k in range(1, num_classes)}
    predictor.manual_initialization(
        network, plans, plans.get_configuration("3d_fullres"), None, {"labels": labels}, "MASAM", (1, 2)
    )
    return predictor


if __name__ == "__main__":
    main()
