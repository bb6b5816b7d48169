"""Save slim checkpoints in a trainer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.weights.slim import read_base, slim_state_dict, unchanged_names


class SlimSaving:
    """Leave out of checkpoints the frozen tensors that equal the SAM file's bit by bit.

    Args:
        network: with all its weights loaded.
        path: the SAM file.
    """

    def __init__(self, network: MASAM, path: Path) -> None:
        base = read_base(path)
        trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        frozen = {name: tensor for name, tensor in network.state_dict().items() if name not in trained}
        self.base = base.base
        self.path = path
        self.names = unchanged_names(frozen, base)
        self.of = len(frozen)

    def __str__(self) -> str:
        return (
            f"Slim checkpoints: {len(self.names)} of {self.of} frozen tensors are left out, they are those of "
            f"{self.path} (sha256 {self.base.sha256})"
        )

    @contextmanager
    def applied(self, network: MASAM) -> Iterator[None]:
        """Make ``network.state_dict()`` slim within this context."""

        def slim(module: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
            kept = slim_state_dict(state_dict, self.names, self.base)
            state_dict.clear()
            state_dict.update(kept)

        handle = network.register_state_dict_post_hook(slim)
        try:
            yield
        finally:
            handle.remove()
