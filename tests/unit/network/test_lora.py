"""LoRA's increments by the formula, in the attention and merged."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.attention import Attention
from nnunetv2_masam.network.fact import FacT
from nnunetv2_masam.network.lora import LoRA
from nnunetv2_masam.network.mask_decoder import Upscaling
from tests.conftest import TINY_VIT


def random_lora(dim: int = 16, rank: int = 3) -> LoRA:
    torch.manual_seed(0)
    lora = LoRA(dim, rank)
    for parameter in lora.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return lora


def test_query_and_value_get_their_own_increment_and_the_key_none():
    lora = random_lora()
    x, q, v = torch.randn(3, 2, 4, 5, 16)
    with torch.no_grad():
        new_q, new_v = lora.add_increments(q, v, x)
        torch.testing.assert_close(new_q, q + x @ lora.a_q.weight.T @ lora.b_q.weight.T)
        torch.testing.assert_close(new_v, v + x @ lora.a_v.weight.T @ lora.b_v.weight.T)
        merged = lora.merge(torch.zeros(48, 16)).split(16)
    torch.testing.assert_close(x @ merged[0].T, new_q - q)
    torch.testing.assert_close(x @ merged[2].T, new_v - v)
    assert not merged[1].any()


def test_starts_at_zero():
    q, v, x = torch.randn(3, 2, 16)
    new_q, new_v = LoRA(16, 3).add_increments(q, v, x)
    assert torch.equal(new_q, q)
    assert torch.equal(new_v, v)


@pytest.mark.parametrize("size", [(4, 4), (15, 28)])
@pytest.mark.parametrize("fact_rank", [0, 3])
def test_merged_equals_added(size, fact_rank):
    """Padded windows too, and beside FacT."""
    torch.manual_seed(0)
    grid = (4, 4) if size == (4, 4) else (14, 14)
    attention = Attention(16, 2, grid, fact_rank=fact_rank, lora_rank=3).eval()
    fact = FacT(dim=16, rank=3, scale=0.7, dropout=0.0).eval()
    for parameter in [*attention.parameters(), *fact.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    x, norm = torch.randn(2, *size, 16), torch.nn.LayerNorm(16)
    added = attention(x, norm, fact)
    with torch.no_grad():
        torch.testing.assert_close(added, attention(x, norm, fact), rtol=1e-4, atol=1e-5)
    attention.lora = None
    assert not torch.allclose(added, attention(x, norm, fact), rtol=1e-2)


@pytest.mark.parametrize(("doublings", "channels"), [(1, 64), (2, 32), (3, 16), (4, 8)])
def test_each_doubling_doubles_the_grid_and_halves_the_channels(doublings, channels):
    upscaling = Upscaling(256, doublings)
    assert upscaling(torch.randn(2, 3, 5, 256)).shape == (2, 3 * 2**doublings, 5 * 2**doublings, channels)


def test_two_doublings_are_sams_own():
    """Names and shapes of the official checkpoints."""
    shapes = {name: tuple(tensor.shape) for name, tensor in Upscaling(256, 2).state_dict().items()}
    assert shapes == {
        "0.weight": (256, 64, 2, 2), "0.bias": (64,),
        "1.weight": (64,), "1.bias": (64,),
        "3.weight": (64, 32, 2, 2), "3.bias": (32,),
    }  # fmt: skip


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
