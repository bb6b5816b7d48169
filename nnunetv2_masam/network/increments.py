"""Low-rank increments on the queries and values of an attention: FacT's, LoRA's, both or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.lora import LoRA

Increments = Callable[[Tensor], tuple[Tensor, Tensor]]  # of tokens (…, E): what is added to query and value


def enabled_increments(fact: FacT | None, cores: FacTCores | None, lora: LoRA | None) -> list[Increments]:
    """Those of one block that are there and switched on; ``fact`` is what all blocks share."""
    found: list[Increments] = []
    if fact is not None and fact.enabled and cores is not None and cores.enabled:
        found.append(partial(fact, cores=cores))
    if lora is not None and lora.enabled:
        found.append(lora)
    return found


def add_increments(qkv: Tensor, x: Tensor, increments: Sequence[Increments]) -> tuple[Tensor, Tensor, Tensor]:
    """Projected tokens (…, 3·E) and the tokens (…, E) to query, key and value, (…, E) each."""
    query, key, value = qkv.chunk(3, dim=-1)
    for increment in increments:
        added_q, added_v = increment(x)
        query, value = query + added_q, value + added_v
    return query, key, value


def merge_increments(qkv_weight: Tensor, increments: Sequence[Increments]) -> Tensor:
    """The projection's weight (3·E, E) with the increments, which are linear, added: one product for all."""
    query, key, value = qkv_weight.chunk(3)  # (E, E) each
    for increment in increments:
        added_q, added_v = increment(torch.eye(len(query), dtype=query.dtype, device=query.device))
        query, value = query + added_q.T, value + added_v.T
    return torch.cat([query, key, value]) if increments else qkv_weight
