"""The projection to query, key and value with its low-rank increments: one module for every image encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_masam.network.adaptation import is_plain
from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.increments import add_increments, enabled_increments, merge_increments, split_qkv
from nnunetv2_masam.network.lora import LoRA


class QKV(nn.Linear):
    """(…, E) to query, key and value, with the increments of FacT and LoRA on query and value.

    Its weight keeps the published name, so published checkpoints fit. Prediction adds the increments to the weight.

    Args:
        dim: E.
        heads: of the attention.
        by_head: order of the output; see :func:`~nnunetv2_masam.network.increments.split_qkv`.
    """

    def __init__(self, dim: int, heads: int, by_head: bool = False, device: str | None = None) -> None:
        super().__init__(dim, 3 * dim, device=device)
        self.heads, self.by_head = heads, by_head

    def forward(  # type: ignore[override]
        self, x: Tensor, fact: FacT | None = None, cores: FacTCores | None = None, lora: LoRA | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (…, E) to (…, heads, d) each, with the factors that blocks share, this block's own, and its LoRA."""
        increments = enabled_increments(fact, cores, lora)
        predicting = not (self.training or torch.is_grad_enabled())
        if predicting and is_plain(self, fact, cores, lora):
            weight = merge_increments(self.weight, increments, self.heads, self.by_head)
            return split_qkv(F.linear(x, weight, self.bias), self.heads, self.by_head)
        return add_increments(split_qkv(super().forward(x), self.heads, self.by_head), x, increments)
