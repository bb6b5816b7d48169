"""Memory by formula, against the bytes that a training step has in use."""

from __future__ import annotations

import pytest
import torch

from benchmarks.step_memory import measure_step, trace_step
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.planning.memory import CPU, GPU, Architecture, MicroBatch, count_parameters, gpu_gb, step_bytes
from tests.conftest import TINY_STAGES

SMALL = {"embed_dim": 192, "depth": 3, "num_heads": 3, "global_attn_indexes": [2]}
MANY = MicroBatch(slices=5, patch=(256, 192), num_classes=3)


@pytest.mark.parametrize(
    ("arch_kwargs", "batch"),
    [
        ({"vit": SMALL, "image_size": (256, 192)}, MANY),
        ({"vit": SMALL, "image_size": (256, 192), "gradient_checkpointing": True}, MANY),
        ({"vit": SMALL, "image_size": (256, 192), "trainable": "decoder"}, MANY),
        ({"vit": SMALL, "image_size": (256, 192), "trainable": "all", "fact_rank": 0, "adapter_channels": 48}, MANY),
        ({"vit": SMALL, "image_size": (224, 224), "adapter_channels": 0}, MicroBatch(5, (224, 224))),
        ({"vit": SMALL, "image_size": (128, 128)}, MicroBatch(5, (256, 256), input_channels=4, num_classes=9)),
    ],
)
def test_the_formula_holds_against_the_allocator(arch_kwargs, batch):
    assert step_bytes(arch_kwargs, batch, CPU) == pytest.approx(measure_step(arch_kwargs, batch), rel=0.15)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_checkpointing": True},
        {"trainable": "all"},
        {"fact_rank": 0, "lora_rank": 4, "adapter_channels": 0, "decoder_doublings": 2},
        {"encoder": "timm:vit_small_patch16_dinov3_qkvb", "adapter_kernel": 5},
        {"encoder": "timm:vit_small_patch16_dinov3_qkvb", "trainable": "all"},
    ],
)
def test_the_formula_holds_against_a_trace_of_what_a_gpu_would_do(changes):
    arch_kwargs = {"vit": SMALL, "image_size": (512, 384), **changes}
    batch = MicroBatch(10, (512, 384), num_classes=3)
    assert step_bytes(arch_kwargs, batch, GPU) == pytest.approx(trace_step(arch_kwargs, batch, like_gpu=True), rel=0.15)


STAGES = {**TINY_STAGES, "widths": [16, 32, 64]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_checkpointing": True},
        {"trainable": "all"},
        {"trainable": "decoder", "fact_rank": 0, "adapter_channels": 0},
        {"fact_rank": 0, "lora_rank": 4, "adapter_channels": 8},
    ],
)
def test_the_formula_of_a_hierarchical_encoder_holds_against_the_allocator(changes):
    arch_kwargs = {"vit": STAGES, "image_size": (112, 84), **changes}
    batch = MicroBatch(5, (112, 84), num_classes=3)
    assert step_bytes(arch_kwargs, batch, CPU) == pytest.approx(measure_step(arch_kwargs, batch), rel=0.15)


def test_the_formula_of_a_hierarchical_encoder_holds_against_a_trace_of_a_gpu():
    arch_kwargs = {"vit": STAGES, "image_size": (112, 84)}
    batch = MicroBatch(5, (112, 84), num_classes=3)
    assert step_bytes(arch_kwargs, batch, GPU) == pytest.approx(trace_step(arch_kwargs, batch, like_gpu=True), rel=0.2)


def test_a_trace_counts_what_the_allocator_counts():
    arch_kwargs = {"vit": SMALL, "image_size": (112, 96)}
    batch = MicroBatch(5, (112, 96), num_classes=3)
    assert trace_step(arch_kwargs, batch) == pytest.approx(measure_step(arch_kwargs, batch), rel=0.03)


@pytest.mark.parametrize("vit", ["vit_t", "vit_b", "vit_l", "vit_h", "timm:vit_base_patch16_dinov3_qkvb"])
@pytest.mark.parametrize(("input_channels", "trainable"), [(1, "masam"), (4, "masam"), (1, "all"), (1, "decoder")])
def test_parameter_count_is_the_networks(vit, input_channels, trainable):
    arch_kwargs = {"image_size": (512, 384), "trainable": trainable, "adapter_kernel": 5}
    arch_kwargs["encoder" if vit.startswith("timm:") else "vit"] = vit
    with torch.device("meta"):
        network = MASAM(input_channels, 14, **arch_kwargs)
    total = sum(p.numel() for p in network.parameters())
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    counted = count_parameters(Architecture.of(arch_kwargs), 14, input_channels)
    assert counted == (pytest.approx(total, rel=0.01), pytest.approx(trained, rel=0.01))


def test_memory_grows_with_all_that_costs_memory():
    base = {"vit": "vit_b", "image_size": (256, 256)}
    batch = MicroBatch(5, (256, 256), num_classes=3)
    memory = gpu_gb(base, batch)
    assert memory < gpu_gb(base, MicroBatch(10, (256, 256), num_classes=3))
    assert memory < gpu_gb(base, MicroBatch(5, (600, 600), num_classes=3))
    assert memory < gpu_gb(base, MicroBatch(5, (256, 256), num_classes=30))
    assert memory < gpu_gb(base, MicroBatch(5, (256, 256), input_channels=4, num_classes=3))
    assert memory < gpu_gb({**base, "image_size": (512, 512)}, batch)
    assert memory < gpu_gb({**base, "vit": "vit_l"}, batch)
    assert memory < gpu_gb({**base, "trainable": "all"}, batch)
    assert memory > gpu_gb({**base, "gradient_checkpointing": True}, batch)
    assert memory > step_bytes(base, batch, GPU) / 1024**3 + 0.5  # and the context
