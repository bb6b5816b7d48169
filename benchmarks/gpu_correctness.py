"""Logits and gradients on a device, in every precision, against float64 on the CPU. Part of ``benchmarks/gpu.py``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_masam.network import MASAM

VIT = {"embed_dim": 64, "depth": 2, "num_heads": 2, "global_attn_indexes": (1,)}
IMAGE_SIZE = (224, 256)  # 14 x 16 tokens: one whole window and one that padding fills up
BATCH = (2, 3, 200, 256)  # B, D, H, W

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "MA-SAM": {},
    "all trained": {"trainable": "all"},
    "LoRA, SAM's decoder": {"fact_rank": 0, "adapter_channels": 0, "lora_rank": 4, "decoder_doublings": 2},
    "decoder only": {"trainable": "decoder", "fact_rank": 0, "adapter_channels": 0},
    "gradient checkpointing": {"gradient_checkpointing": True},
    "boxes": {"prompt": "box"},
    "half turn": {"half_turn": True},
}
# largest difference over the largest value: of logits, and of the worst gradient
TOLERANCES = {"float32": (5e-5, 5e-4), "bfloat16": (0.05, 0.15), "float16": (0.01, 0.05)}


def check(device: torch.device, seconds_left: Callable[[], float]) -> dict[str, Any]:
    """Every configuration in every precision, with plain and with fast kernels."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    checks = []
    for name, arguments in CONFIGURATIONS.items():
        network, x = make_case(arguments)
        network.double().prompt_encoder.pe_layer.float()  # SAM's positional encoding computes in float32 only
        expected = outputs(network, x.double(), torch.float64)
        for precision in precisions(device):
            for kernels in ("plain", "fast"):
                if seconds_left() < 5:
                    return {"ok": all(c["ok"] for c in checks), "checks": checks, "cut_short": True}
                moved = make_case(arguments)[0].to(device)
                moved.kernels = kernels
                checks.append(
                    {"configuration": name, "precision": precision, "kernels": kernels}
                    | compared(outputs(moved, x.to(device), getattr(torch, precision)), expected, precision)
                )
    return {"ok": all(c["ok"] for c in checks), "checks": checks}


def precisions(device: torch.device) -> list[str]:
    """float32, and what the device computes in hardware."""
    if device.type != "cuda":
        return ["float32"]
    return ["float32", "float16"] + ["bfloat16"] * torch.cuda.is_bf16_supported()


def make_case(arguments: dict[str, Any]) -> tuple[MASAM, Tensor]:
    """A small network with random weights everywhere, and an input; the same at every call."""
    torch.manual_seed(0)
    size = {"vit": VIT, "image_size": IMAGE_SIZE, "fact_rank": 4, "adapter_channels": 16, "fact_dropout": 0.0}
    channels = 1 + (arguments.get("prompt") == "box")
    network = MASAM(channels, 3, **(size | arguments)).train()
    for parameter in network.parameters():
        if parameter.ndim > 1:  # zeros would hide mistakes
            nn.init.normal_(parameter, std=0.05)
    batch, depth, height, width = BATCH
    x = torch.randn(batch, channels, depth, height, width)
    if channels == 2:
        x[:, 1] = 0
        x[0, 1, :, 40:120, 60:200] = 1  # the second sample has no box
    return network, x


def outputs(network: MASAM, x: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Logits, and the gradient of every trained parameter, in float64 on the CPU."""
    half = dtype in (torch.float16, torch.bfloat16)
    with torch.autocast(x.device.type, dtype=dtype) if half else nullcontext():
        logits = network(x)
    # positive, because sums that cancel would measure rounding and nothing else
    weights = torch.linspace(0.5, 1.5, logits.numel(), device=x.device, dtype=logits.dtype).view_as(logits)
    (logits * weights).mean().mul(1000.0).backward()  # large enough for float16's gradients
    found = {"logits": logits} | {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return {name: tensor.detach().double().cpu() for name, tensor in found.items()}


def compared(found: dict[str, Tensor], expected: dict[str, Tensor], precision: str) -> dict[str, Any]:
    """Largest differences over the largest values."""
    if found.keys() != expected.keys():
        return {"ok": False, "worst": f"gradients of {sorted(found.keys() ^ expected.keys())[:3]} on one side only"}
    scale = max(tensor.abs().max().item() for name, tensor in expected.items() if name != "logits")
    errors = {}
    for name, tensor in expected.items():
        # a gradient that is zero but for rounding is held to the scale of all gradients
        largest = max(tensor.abs().max().item(), 1e-3 * scale) if name != "logits" else tensor.abs().max().item()
        errors[name] = (found[name] - tensor).abs().max().item() / largest
    logits = errors.pop("logits")
    worst = max(errors, key=errors.__getitem__)
    allowed, allowed_gradient = TOLERANCES[precision]
    return {
        "ok": logits <= allowed and errors[worst] <= allowed_gradient,
        "logits": logits,
        "gradient": errors[worst],
        "worst": f"logits {logits:.1e}, gradient of {worst} {errors[worst]:.1e}",
    }
