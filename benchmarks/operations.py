"""Where the time of a forward pass and of a training step goes, for the authors' code and for ours.

    python benchmarks/operations.py --reference MA-SAM     # how to get it: benchmarks/reference.py

Seconds by kind of operation, from the profiler; the matrix products' operations; and how long those alone would take at
the rate of a large product, which is the limit for code that forms the same products in the same precision. CPU only.
Writes ``benchmarks/results/operations-cpu.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from environment import describe_environment
from rate import rate_of_a_large_product
from reference import build_ours, build_theirs, comparison_parser, their_logits, their_loss
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from nnunetv2_masam.planning.cost import count_products
from nnunetv2_masam.training.loss import MASAMLoss

NUM_CLASSES = 13
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "mkldnn_convolution", "convolution_backward"),
    "softmax": ("_softmax", "_softmax_backward_data", "_log_softmax", "_log_softmax_backward_data"),
    "normalisation": ("native_layer_norm", "native_layer_norm_backward"),
    "GELU": ("gelu", "gelu_backward"),
    "sums": ("add", "sum", "sub", "mul", "div", "addcmul", "addcdiv", "lerp"),
    "copies": ("copy", "cat", "fill", "index", "constant_pad_nd", "slice_backward", "select_backward"),
}


def main() -> None:
    """Measure and write."""
    parser = comparison_parser(__doc__)
    args = parser.parse_args()
    torch.manual_seed(0)
    theirs = build_theirs(args.reference, args.vit, args.size, NUM_CLASSES)
    ours = build_ours(theirs, args.vit, args.size, NUM_CLASSES)
    volume = torch.rand(1, 1, args.slices, args.size, args.size)
    labels = torch.randint(0, NUM_CLASSES + 1, (args.slices, args.size, args.size))
    loss_of_theirs, loss_of_ours = their_loss(NUM_CLASSES), MASAMLoss()

    rate = rate_of_a_large_product("cpu")
    result: dict[str, object] = {
        "environment": describe_environment(),
        "settings": {k: str(v) for k, v in vars(args).items() if k != "reference"} | {"seed": 0},
        "gigaflop_per_second_of_a_large_product": round(rate / 1e9),
    }
    sides: dict[str, tuple[nn.Module, Callable[[], Tensor], Callable[[], Tensor]]] = {
        "theirs": (
            theirs,
            lambda: their_logits(theirs, volume),
            lambda: loss_of_theirs(their_logits(theirs, volume), labels),
        ),
        "ours": (
            ours,
            lambda: ours(volume),
            lambda: loss_of_ours(ours(volume).transpose(1, 2).flatten(0, 1), labels[:, None]),
        ),
    }
    for name, (network, forward, loss) in sides.items():
        network.eval()
        with torch.inference_mode():
            result[f"{name}, forward pass"] = look_into(forward, rate)
        network.train()
        optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
        result[f"{name}, training step"] = look_into(lambda: step(optimizer, loss), rate)  # noqa: B023
    target = Path(__file__).parent / "results" / "operations-cpu.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def step(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    """A training step."""
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


def look_into(run: Callable[[], object], rate: float) -> dict[str, object]:
    """Count the operations of one run, and take the time of another apart."""
    with count_products() as counter:
        run()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        run()
    seconds: Counter[str] = Counter()
    for event in record.key_averages():
        seconds[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    flop = counter.get_total_flops()
    return {
        "seconds": round(sum(seconds.values()), 2),
        "by_kind": {kind: round(seconds[kind], 2) for kind in (*KINDS, "other")},
        "teraflop_of_matrix_products": round(flop / 1e12, 3),
        "gigaflop_per_second_in_matrix_products": round(flop / 1e9 / seconds["matrix products"]),
        "seconds_at_the_rate_of_a_large_product": round(flop / rate, 2),
    }


def kind_of(operation: str) -> str:
    """Of the profiler's name of an operation."""
    name = operation.removeprefix("aten::").rstrip("_")
    return next((kind for kind, names in KINDS.items() if operation.startswith("aten::") and name in names), "other")


if __name__ == "__main__":
    main()
