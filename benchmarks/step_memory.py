"""Peak memory of one training step of micro-batches, in bytes in use.

:func:`measure_step` runs it: on a CPU it reads the profiler's record of every allocation, on a GPU the allocator's own
counter. :func:`trace_step` runs it on tensors without content and adds up their sizes, so that networks and precisions
can be looked at that this machine is too slow for; :func:`trace_forward` does so for prediction.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from nnunetv2_masam.network import MASAM, block
from nnunetv2_masam.network.attention import decomposed_attention
from nnunetv2_masam.planning.memory import MicroBatch


class _Step:
    """A network with gradients and moments in place, as in the middle of a training, and one step of it."""

    def __init__(self, network: MASAM, batch: MicroBatch, device: str, half: bool) -> None:
        self.network = network.train()
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.image = torch.rand(1, batch.input_channels, batch.slices, *batch.patch, device=device)
        self.labels = torch.randint(0, batch.num_classes, (1, 1, batch.slices, *batch.patch), device=device).float()
        dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
        self.loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)  # nnU-Net's
        self.autocast: Callable[[], AbstractContextManager] = nullcontext
        if half:
            self.autocast = lambda: torch.autocast(device, torch.bfloat16)

    def __call__(self) -> None:
        with self.autocast():
            logits = self.network(self.image)
        self.loss(logits, self.labels).backward()
        del logits
        self.optimizer.step()

    def kept(self) -> list[Tensor]:
        """Tensors that exist before and after the step."""
        parameters = list(self.network.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        moments = [t for state in self.optimizer.state.values() for t in state.values() if isinstance(t, Tensor)]
        return [*parameters, *self.network.buffers(), *gradients, *moments, self.image, self.labels]


def measure_step(arch_kwargs: Mapping[str, Any], batch: MicroBatch, device: str = "cpu", half: bool = False) -> int:
    """Peak bytes of a step that is run; ``half`` is under autocast to bfloat16."""
    torch.manual_seed(0)
    with torch.device(device):
        network = MASAM(batch.input_channels, batch.num_classes, **arch_kwargs)
    step = _Step(network, batch, device, half)
    if device == "cuda":
        step()  # workspaces are allocated by the first
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated()
    peak = peak_of_allocations(step)
    return _bytes(step.kept()) + peak


def peak_of_allocations(run: Callable[[], object]) -> int:
    """Most bytes of a CPU's allocator that ``run`` holds at once, beyond those in use before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    allocated = peak = 0
    for event in record.profiler.kineto_results.events():  # in the order of time
        if event.name() == "[memory]":
            allocated += event.nbytes()
            peak = max(peak, allocated)
    return peak


def trace_step(arch_kwargs: Mapping[str, Any], batch: MicroBatch, like_gpu: bool = False) -> int:
    """Peak bytes of a step on tensors without content.

    Args:
        arch_kwargs: the network's arguments.
        batch: the micro-batch.
        like_gpu: as on a GPU: bfloat16 in matrix products, float32 in normalisations and softmax, fused attention.
    """
    network = without_content(arch_kwargs, batch)
    with FakeTensorMode(allow_non_fake_inputs=True), _gpu_rules() if like_gpu else nullcontext():
        step = _Step(network.to_empty(device="cpu"), batch, "cpu", like_gpu)
        tracker = _Tracker()
        for tensor in step.kept():
            tracker.add(tensor)
        with tracker:
            step()
        return tracker.peak


def trace_forward(arch_kwargs: Mapping[str, Any], batch: MicroBatch, half: bool = False, kernels: str = "auto") -> int:
    """Peak bytes of a forward pass in prediction, weights included, on tensors without content.

    ``half`` is under autocast to bfloat16; with ``kernels="plain"`` slices go through a block together, as on a GPU.
    """
    network = without_content(arch_kwargs, batch)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        network = network.to_empty(device="cpu").eval()
        network.kernels = kernels
        image = torch.rand(1, batch.input_channels, batch.slices, *batch.patch)
        tracker = _Tracker()
        for tensor in [*network.parameters(), *network.buffers(), image]:
            tracker.add(tensor)
        with tracker, torch.autocast("cpu", torch.bfloat16, enabled=half):
            network(image)
        return tracker.peak


def without_content(arch_kwargs: Mapping[str, Any], batch: MicroBatch) -> MASAM:
    """A network without memory for its weights; ``to_empty`` puts it into a FakeTensorMode.

    timm reads values while it builds a network, which fake tensors do not have.
    """
    with torch.device("meta"):
        return MASAM(batch.input_channels, batch.num_classes, **arch_kwargs)


class _Tracker(TorchDispatchMode):
    """Adds up the sizes of tensors from their making to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.in_use = self.peak = 0
        self.seen = WeakIdKeyDictionary()

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self.seen:
            self.seen[storage] = True
            self.in_use += storage.nbytes()
            self.peak = max(self.peak, self.in_use)
            weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self.in_use -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return out


@contextmanager
def _gpu_rules() -> Iterator[None]:
    """Autocast's rules for CUDA where those for CPUs differ, and the attention that is used there."""

    def in_float(function: Callable) -> Callable:
        return lambda x, *args, **kwargs: function(x.float(), *args, **kwargs)

    with (
        mock.patch.object(F, "layer_norm", in_float(F.layer_norm)),
        mock.patch.object(torch, "softmax", in_float(torch.softmax)),
        mock.patch.object(Tensor, "pow", in_float(Tensor.pow)),
        mock.patch.object(block, "attention_by_parts", decomposed_attention),
    ):
        yield


def _bytes(tensors: list[Tensor]) -> int:
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())
