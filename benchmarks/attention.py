"""Attention with decomposed relative positions: ways to compute it, in turn, ViT-B at 512 × 512 pixels.

    python benchmarks/attention.py

``written out`` is SAM's own form, ``stored bias`` hands the positions' scores to the fused kernel as a mask, ``longer
vectors`` is the plain form and ``in parts`` the kernel for CPUs. Writes
``benchmarks/results/attention-<device>.json``: median seconds of a forward pass, and of one with its backward pass; the
operations a second, as a share of what a large matrix product reaches on the same device; differences.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from environment import describe_environment
from rate import now, rate_of_a_large_product
from torch import Tensor

from nnunetv2_masam.network.attention import decomposed_attention, position_scores, relative_table
from nnunetv2_masam.network.attention_by_parts import attention_by_parts

HEADS, HEAD_DIM = 12, 64
GRIDS = {"windows": (45, (14, 14)), "global": (5, (32, 32))}  # (how many in five slices, tokens)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    product_flops = rate_of_a_large_product(args.device)
    result: dict[str, object] = {
        "environment": describe_environment(),
        "settings": {"repeats": args.repeats, "device": args.device, "heads": HEADS, "head dim": HEAD_DIM, "seed": 0},
        "matrix product, GFLOP/s": round(product_flops / 1e9, 1),
    }
    for name, (count, grid) in GRIDS.items():
        result[name] = _measure(count, grid, args.repeats, args.device, product_flops)
    target = Path(__file__).parent / "results" / f"attention-{args.device}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _measure(
    count: int, grid: tuple[int, int], repeats: int, device: str, product_flops: float
) -> dict[str, dict[str, float]]:
    tokens = grid[0] * grid[1]
    inputs = [torch.randn(count, HEADS, tokens, HEAD_DIM, device=device, requires_grad=True) for _ in range(3)]
    tables = [relative_table(0.02 * torch.randn(2 * side - 1, HEAD_DIM, device=device)) for side in grid]
    grad = torch.randn_like(inputs[0])
    sides: dict[str, Callable[..., Tensor]] = {
        "written out": _written_out,
        "stored bias": _stored_bias,
        "longer vectors": decomposed_attention,
    }
    if device == "cpu":
        sides["in parts"] = attention_by_parts
    seconds: dict[str, dict[str, list[float]]] = {name: {"forward": [], "both": []} for name in sides}
    outputs = {}
    for repeat in range(repeats + 1):
        for name, attention in sides.items():
            with torch.no_grad():
                started = now(device)
                outputs[name] = attention(*inputs, *tables)
                forward = now(device) - started
            started = now(device)
            torch.autograd.grad(attention(*inputs, *tables), inputs, grad)
            both = now(device) - started
            if repeat:  # the first of each warms up
                seconds[name]["forward"].append(forward)
                seconds[name]["both"].append(both)
    flops = 2 * count * HEADS * tokens * HEAD_DIM * (2 * tokens + sum(grid))
    expected = outputs["written out"]
    return {
        name: {
            "forward, s": round(statistics.median(runs["forward"]), 4),
            "forward and backward, s": round(statistics.median(runs["both"]), 4),
            "share of the matrix product's rate, forward": round(
                flops / statistics.median(runs["forward"]) / product_flops, 3
            ),
            "largest difference": float((outputs[name] - expected).abs().max() / expected.abs().max()),
        }
        for name, runs in seconds.items()
    }


def _written_out(q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return (scores + _bias(q, table_h, table_w)).softmax(dim=-1) @ v


def _stored_bias(q: Tensor, k: Tensor, v: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=_bias(q, table_h, table_w))


def _bias(q: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
    score_h, score_w = position_scores(q, table_h, table_w)
    return (score_h[..., None] + score_w[..., None, :]).flatten(4, 5).flatten(2, 3)


if __name__ == "__main__":
    main()
