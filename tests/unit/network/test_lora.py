"""LoRA's increments by the formula."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.increments import merge_increments
from nnunetv2_masam.network.lora import LoRA
from tests.conftest import TINY_VIT


def random_lora(dim: int = 16, rank: int = 3) -> LoRA:
    torch.manual_seed(0)
    lora = LoRA(dim, rank)
    for parameter in lora.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return lora


def test_query_and_value_get_their_own_increment_and_the_key_none():
    lora = random_lora()
    x = torch.randn(2, 4, 5, 16)
    with torch.no_grad():
        q, v = lora(x)
        torch.testing.assert_close(q, x @ lora.a_q.weight.T @ lora.b_q.weight.T)
        torch.testing.assert_close(v, x @ lora.a_v.weight.T @ lora.b_v.weight.T)
        merged = merge_increments(torch.zeros(48, 16), [lora]).split(16)
    torch.testing.assert_close(x @ merged[0].T, q)
    torch.testing.assert_close(x @ merged[2].T, v)
    assert not merged[1].any()


def test_starts_at_zero():
    assert not any(increment.any() for increment in LoRA(16, 3)(torch.randn(2, 16)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"lora_rank": -1}, "lora_rank: got -1"),
        ({"decoder_doublings": 0}, "decoder_doublings: got 0, expected 1 to 4"),
        ({"decoder_doublings": 5}, "decoder_doublings: got 5, expected 1 to 4"),
    ],
)
def test_arguments_without_meaning_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MASAM(1, 3, vit=TINY_VIT, image_size=(64, 64), **kwargs)
