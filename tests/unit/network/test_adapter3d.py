"""The 3D adapter by the formula, and its forms for training and prediction against the plain one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_masam.network.adapter3d import Adapter3d

# kernel and dilation along the slices: the authors', the named trainers', and both at once
GEOMETRIES = [(3, 1), (5, 1), (3, 2), (5, 2)]


def random_adapter(
    dtype: torch.dtype = torch.float32, dim: int = 8, channels: int = 5, kernel: int = 3, dilation: int = 1
) -> Adapter3d:
    torch.manual_seed(0)
    adapter = Adapter3d(dim, channels, kernel, dilation)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return adapter.to(dtype)


@pytest.mark.parametrize(("kernel", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_equals_the_formula(depth, kernel, dilation):
    adapter = random_adapter(torch.float64, kernel=kernel, dilation=dilation)
    x = torch.randn(2 * depth, 3, 2, 8, dtype=torch.float64)
    reduced = F.layer_norm(x, (8,), adapter.norm.weight, adapter.norm.bias, 1e-6) @ adapter.down.weight.T
    taps = adapter.conv.weight[:, :, :, 0, 0].unbind(2)
    expected = x.clone()
    for sample in range(2):
        for d in range(depth):
            index = sample * depth + d
            mixed = adapter.conv.bias
            for tap, weight in enumerate(taps):
                distance = (tap - kernel // 2) * dilation
                if 0 <= d + distance < depth:
                    mixed = mixed + reduced[index + distance] @ weight.T
            expected[index] += F.gelu(mixed) @ adapter.up.weight.T
    torch.testing.assert_close(adapter(x, depth), expected)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("frozen", [(), ("norm.weight", "norm.bias"), ("down.weight", "conv.weight"), ("x",)])
def test_recomputed_equals_plain(depth, dtype, frozen):
    """Values and all gradients, whatever is trained; under autocast in bfloat16."""
    adapter = random_adapter()
    x = torch.randn(2 * depth, 3, 5, 8, requires_grad="x" not in frozen)
    for name, parameter in adapter.named_parameters():
        parameter.requires_grad_(name not in frozen)
    inputs = [tensor for tensor in (x, *adapter.parameters()) if tensor.requires_grad]
    results = []
    for recompute in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = adapter(x, depth, recompute)
        results.append([out.detach(), *torch.autograd.grad(out.float().square().sum(), inputs)])
    for plain, recomputed in zip(*results, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_gradcheck_of_the_recomputed_form():
    adapter = random_adapter(torch.float64, dim=3, channels=2)
    x = torch.randn(3, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: adapter(x, 3, recompute=True), (x, *adapter.parameters()))


def test_the_recomputed_form_stores_the_input_and_the_convolution_only():
    adapter = random_adapter(dim=16, channels=8)
    x = torch.randn(4, 3, 2, 16, requires_grad=True)
    alive = []

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                alive.append(torch.multiprocessing.reductions.StorageWeakRef(out.untyped_storage()))
                sizes[alive[-1].cdata] = out.untyped_storage().nbytes()
            return out

    sizes: dict[int, int] = {}
    with Count():
        out = adapter(x, 2, recompute=True)
    kept = {ref.cdata for ref in alive if not ref.expired()}
    conv, result = 4 * 4 * 6 * 8, 4 * out.numel()
    assert sum(sizes[ref] for ref in kept) <= conv + result + 4 * sum(p.numel() for p in adapter.parameters())
