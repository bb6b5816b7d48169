"""Speed and memory of the network on a device, beside what the planner predicts. Part of ``benchmarks/gpu.py``."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from rate import now
from torch import Tensor, nn

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning.cost import count_operations
from nnunetv2_masam.planning.memory import MicroBatch, gpu_gb

GB = 1024**3
# dense bfloat16 peak in TFLOP/s, by NVIDIA's data sheets
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "RTX 4090": 165.0, "RTX 3090": 71.0}
KERNELS = ("plain", "fast")


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        vits: presets, the most important first.
        image: side of the network's input, pixels.
        slices: D of a sample.
        num_classes: K.
        volume: voxels of the volume.
        repeats: runs that count, after one more.
    """

    vits: tuple[str, ...] = ("vit_b", "vit_l", "vit_h")
    image: int = 512
    slices: int = 5
    num_classes: int = 14
    volume: tuple[int, int, int] = (150, 512, 512)
    repeats: int = 10

    @classmethod
    def small(cls) -> Sizes:
        """To see that everything works."""
        return cls(vits=("vit_t",), image=64, slices=4, num_classes=3, volume=(9, 64, 64), repeats=1)

    @property
    def arch_kwargs(self) -> dict[str, Any]:
        """The network's arguments but the ViT."""
        return {"image_size": [self.image, self.image]}


def measure(
    device: torch.device,
    sizes: Sizes,
    seconds_left: Callable[[], float],
    keep: Callable[[dict[str, Any]], None] = lambda results: None,
    kinds: Sequence[str] = KERNELS,
) -> dict[str, Any]:
    """A row for every ViT and kind of kernel, and the attention kernels that ran.

    Args:
        device: to measure on.
        sizes: what is measured.
        seconds_left: until the run has to end; what does not fit is left out.
        keep: called with the results after every row.
        kinds: of kernels.
    """
    results: dict[str, Any] = {"rows": [], "attention_kernels": {}}
    for vit in sizes.vits:
        for kernels in kinds:
            if seconds_left() < 20 and sizes.repeats > 1:
                return results | {"cut_short": True}
            try:
                results["rows"].append(measure_one(device, sizes, vit, kernels))
            except RuntimeError as error:  # out of memory, or not to be compiled; the other rows still count
                results.setdefault("errors", {})[f"{vit}, {kernels}"] = f"{type(error).__name__}: {error}"[:500]
            keep(results)
        if device.type == "cuda":
            results["attention_kernels"][vit] = attention_kernels(build(device, sizes, vit), sample(device, sizes, 1))
    return results


def measure_one(device: torch.device, sizes: Sizes, vit: str, kernels: str) -> dict[str, Any]:
    """Forward pass of a sample; training step of as many samples as half of the memory takes."""
    arch_kwargs = {**sizes.arch_kwargs, "vit": vit}
    samples = samples_that_fit(device, sizes, arch_kwargs)
    network = build(device, sizes, vit)
    network.kernels = "plain" if kernels == "compiled" else kernels
    run: nn.Module = torch.compile(network) if kernels == "compiled" else network  # type: ignore[assignment]
    one = sample(device, sizes, 1)
    with torch.inference_mode():
        network.eval()
        forward_s = median_seconds(lambda: autocast_call(run, one), sizes.repeats, device)
    network.train()
    batch = sample(device, sizes, samples)
    labels = torch.randint(sizes.num_classes, (samples, *batch.shape[2:]), device=device)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(autocast_call(run, batch), labels).backward()
        optimizer.step()

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    step_s = median_seconds(step, sizes.repeats, device)
    operations = count_operations(arch_kwargs, sizes.slices, sizes.num_classes)
    flops = samples * sum(operations)
    peak = bf16_peak(device)
    row = {
        "vit": vit,
        "kernels": kernels,
        "samples": samples,
        "forward_s": forward_s,
        "forward_tflop": operations.forward / 1e12,
        "step_s": step_s,
        "step_tflop": flops / 1e12,
        "share_of_bf16_peak": round(flops / step_s / peak, 3) if peak else None,
        "predicted_gb": round(predicted_gb(arch_kwargs, sizes, samples), 2),
        "peak_gb": 0.0,
    }
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        row |= {
            "allocated_gb": round(torch.cuda.max_memory_allocated() / GB, 2),
            "peak_gb": round(torch.cuda.max_memory_reserved() / GB, 2),
            "outside_the_allocator_gb": round((total - free - torch.cuda.memory_reserved()) / GB, 2),
        }
        torch.cuda.empty_cache()
    return row


def build(device: torch.device, sizes: Sizes, vit: str) -> MASAM:
    """A network with random weights."""
    torch.manual_seed(0)
    return MASAM(1, sizes.num_classes, vit=vit, **sizes.arch_kwargs).to(device)


def sample(device: torch.device, sizes: Sizes, samples: int) -> Tensor:
    """(B, 1, D, S, S)."""
    return torch.rand(samples, 1, sizes.slices, sizes.image, sizes.image, device=device)


def samples_that_fit(device: torch.device, sizes: Sizes, arch_kwargs: dict[str, Any]) -> int:
    """The most samples, up to 24, that the planner predicts to take at most half of the GPU's memory."""
    if device.type != "cuda":
        return 1
    half = torch.cuda.get_device_properties(device).total_memory / GB / 2
    return max((n for n in (1, 2, 4, 8, 12, 24) if predicted_gb(arch_kwargs, sizes, n) <= half), default=1)


def predicted_gb(arch_kwargs: dict[str, Any], sizes: Sizes, samples: int) -> float:
    """What the planner predicts for a training step. nnU-Net's loss is counted, which takes more than cross-entropy."""
    batch = MicroBatch(samples * sizes.slices, (sizes.image, sizes.image), 1, sizes.num_classes)
    return gpu_gb(arch_kwargs, batch)


def autocast_call(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The network under nnU-Net's autocast."""
    context: AbstractContextManager[Any] = torch.autocast("cuda") if x.is_cuda else nullcontext()
    with context:
        return network(x)


def median_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median over ``repeats`` calls after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        started = now(device.type)
        call()
        seconds.append(now(device.type) - started)
    return round(statistics.median(seconds[1:]), 5)


def bf16_peak(device: torch.device) -> float | None:
    """Dense bfloat16 operations a second by the data sheet; None where the GPU is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak * 1e12 for known, peak in PEAK_TFLOPS.items() if known in name), None)


def attention_kernels(network: MASAM, x: Tensor) -> list[str]:
    """Names of the fused attention kernels that a forward pass runs."""
    network.eval()
    with torch.inference_mode(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        autocast_call(network, x)
        torch.cuda.synchronize()
    names = {event.key for event in profile.key_averages()}
    return sorted({name[:120] for name in names if re.search(r"flash|fmha|attention|cudnn.*sdp", name, re.IGNORECASE)})


def measure_volume(device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """A volume through nnU-Net's sliding window, in tiles of all its slices and of five."""
    from volume import make_predictor

    network = build(device, sizes, sizes.vits[0]).eval()
    depth, height, width = sizes.volume
    x = torch.rand(1, depth, height, width)
    seconds = {}
    for name, slices, mirror in (
        (f"tiles of {sizes.slices}", sizes.slices, False),
        ("tiles of 40", min(40, depth), False),
        ("tiles of 40, mirrored in plane", min(40, depth), True),
    ):
        predictor = make_predictor(network, (slices, sizes.image, sizes.image), device, mirror, sizes.num_classes)
        run = predictor.predict_sliding_window_return_logits
        seconds[name] = median_seconds(lambda run=run: run(x), 1, device)  # type: ignore[misc]
    return {"volume": list(sizes.volume), "vit": sizes.vits[0], "seconds": seconds}
