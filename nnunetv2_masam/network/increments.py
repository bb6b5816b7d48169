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
    """Increments of one block that are switched on; ``fact`` has the factors that blocks share."""
    found: list[Increments] = []
    if fact is not None and fact.enabled and cores is not None and cores.enabled:
        found.append(partial(fact, cores=cores))
    if lora is not None and lora.enabled:
        found.append(lora)
    return found


def split_qkv(projected: Tensor, heads: int, by_head: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(…, 3·E) to query, key and value, (…, heads, d) each.

    With ``by_head`` these three of the first head come first, then those of the second; else all queries do.
    """
    query, key, value = (
        projected.unflatten(-1, (heads, 3, -1)).unbind(-2)
        if by_head
        else projected.unflatten(-1, (3, heads, -1)).unbind(-3)
    )
    return query, key, value


def join_qkv(parts: Sequence[Tensor], by_head: bool) -> Tensor:
    """The way back: (…, heads, d) each to (…, 3·E)."""
    return torch.stack(tuple(parts), dim=-2 if by_head else -3).flatten(-3)


def add_increments(
    parts: tuple[Tensor, Tensor, Tensor], x: Tensor, increments: Sequence[Increments]
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value (…, heads, d) of the tokens (…, E) with the increments."""
    query, key, value = parts
    for increment in increments:
        added_q, added_v = (added.unflatten(-1, query.shape[-2:]) for added in increment(x))
        query, value = query + added_q, value + added_v
    return query, key, value


def merge_increments(
    qkv_weight: Tensor, increments: Sequence[Increments], heads: int = 1, by_head: bool = False
) -> Tensor:
    """The projection's weight (3·E, E) with the increments, which are linear, added: one product for all."""
    if not increments:
        return qkv_weight
    units = torch.eye(qkv_weight.shape[1], dtype=qkv_weight.dtype, device=qkv_weight.device)
    parts = add_increments(split_qkv(qkv_weight.T, heads, by_head), units, increments)  # (E, heads, d) each
    return join_qkv(parts, by_head).T
