"""What FacT, LoRA and the 3D adapters have in common: they are added to SAM's encoder and can be switched off again.

An adaptation names its own parameters, as in torchtune: what is trained, counted or left out is never recognised by the
name of a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Adaptation(nn.Module):
    """Base class of the modules that MA-SAM adds to SAM's image encoder.

    Attributes:
        enabled: whether the module takes part; see :func:`adapters_disabled`.
    """

    enabled = True


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
    """Whether it makes no difference to anyone if the parameters of ``modules`` are used without calling the modules.

    It does where a hook is registered, where a parametrization or a quantised layer has taken a module's place, and
    where a compiler is watching.
    """
    if torch.compiler.is_compiling() or torch.nn.modules.module._has_any_global_hook():
        return False
    return all(_is_plain(part) for module in modules if module is not None for part in module.modules())


def _is_plain(module: nn.Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return not hooked and type(module).__module__.startswith(("torch.nn.modules.", "nnunetv2_masam.network."))
