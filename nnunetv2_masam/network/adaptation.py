"""Base class of FacT, LoRA and the 3D adapters, which are added to SAM's encoder and can be switched off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Adaptation(nn.Module):
    """Base class of the modules that MA-SAM adds to SAM's image encoder."""

    enabled = True  # see adapters_disabled


def adapter_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names, relative to ``module``, and parameters of all adaptations in it."""
    for prefix, part in module.named_modules():
        if isinstance(part, Adaptation):
            yield from part.named_parameters(prefix)


@contextmanager
def adapters_disabled(module: nn.Module) -> Iterator[None]:
    """Switch off all adaptations in ``module``; what remains is SAM's own network."""
    switched_off = [part for part in module.modules() if isinstance(part, Adaptation) and part.enabled]
    for part in switched_off:
        part.enabled = False
    try:
        yield
    finally:
        for part in switched_off:
            part.enabled = True


def is_plain(*modules: nn.Module | None) -> bool:
    """Whether the parameters of ``modules`` may be used without calling the modules.

    Not where one of them has a hook, a parametrization or a quantised layer, and not under a compiler.
    """
    parts = (part for module in modules if module is not None for part in module.modules())
    return not torch.compiler.is_compiling() and all(_is_plain(part) for part in parts)


def _is_plain(module: nn.Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return not hooked and type(module).__module__.startswith(("torch.nn.modules.", "nnunetv2_masam.network."))
