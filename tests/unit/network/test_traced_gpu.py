"""What a GPU would run, traced on tensors without content: a wrong dtype or device is found without a GPU.

The forward pass is traced on CUDA tensors under CUDA's autocast. The autograd engine needs a real device, so the
backward pass is traced on CPU tensors with the attention of GPUs and, as far as torch has them, autocast's rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunetv2_masam.network import MASAM, block
from nnunetv2_masam.network.attention import decomposed_attention
from tests.conftest import TINY_VIT

CONFIGURATIONS = {
    "masam": {},
    "rgb": {"input_channels": 3},
    "four channels": {"input_channels": 4},
    "checkpointing": {"gradient_checkpointing": True},
    "samed": {"fact_rank": 0, "lora_rank": 2, "adapter_channels": 0, "decoder_doublings": 2},
    "all": {"trainable": "all"},
    "decoder": {"trainable": "decoder", "half_turn": True},
}
# every configuration in one half precision, and one of them in the other
CASES = [*((name, torch.bfloat16) for name in CONFIGURATIONS), ("masam", torch.float16)]
every_case = pytest.mark.parametrize(("name", "half"), CASES)


@contextmanager
def traced(device: str) -> Iterator[None]:
    """Tensors without content, and the attention of GPUs."""
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode())
        stack.enter_context(torch.device(device))
        stack.enter_context(mock.patch("torch.nn.init.trunc_normal_"))  # looks at numbers
        stack.enter_context(mock.patch.object(block, "attention_by_parts", decomposed_attention))
        yield


@contextmanager
def cuda_autocast(half: torch.dtype) -> Iterator[None]:
    """``torch.autocast("cuda")``, which switches itself off where there is no GPU."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", half)
    try:
        yield
    finally:
        torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)


def build(arguments: dict) -> tuple[MASAM, torch.Tensor]:
    changes = dict(arguments)
    channels = changes.pop("input_channels", 1)
    sizes = {"image_size": (240, 64), "fact_rank": 4, "adapter_channels": 8}
    network = MASAM(channels, 3, vit=TINY_VIT, **{**sizes, **changes})
    return network, torch.empty(2, channels, 3, 200, 64)


@every_case
def test_forward_on_cuda(name, half):
    seen = set()
    with traced("cuda"):
        network, x = build(CONFIGURATIONS[name])
        network.mask_decoder.transformer.register_forward_hook(lambda _, args, out: seen.add(out[1].device.type))
        with cuda_autocast(half):
            training = network(x)
            with torch.no_grad():
                predicted = network.eval()(x)
    for logits in (training, predicted):
        assert logits.shape == (2, 3, 3, 200, 64)
        assert (logits.device.type, logits.dtype) == ("cuda", torch.float32)
    assert seen == {"cuda"}


@every_case
def test_backward(name, half):
    with traced("cpu"):
        network, x = build(CONFIGURATIONS[name])
        with torch.autocast("cpu", dtype=half):
            logits = network(x)
        logits.square().mean().backward()
        for name, parameter in network.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
            if parameter.grad is not None:
                assert parameter.grad.dtype == parameter.dtype
