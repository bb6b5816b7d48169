"""FacT's increments by the formula, and what it shares between blocks."""

from __future__ import annotations

from functools import partial

import torch

from nnunetv2_masam.network.fact import FacT, FacTCores
from nnunetv2_masam.network.increments import merge_increments


def random_fact(dropout: float = 0.0) -> tuple[FacT, FacTCores]:
    torch.manual_seed(0)
    fact, cores = FacT(dim=16, rank=3, scale=0.7, dropout=dropout), FacTCores(3)
    for parameter in [*fact.parameters(), *cores.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    return fact, cores


def test_increments_are_the_products_of_the_factors():
    fact, cores = random_fact()
    x = torch.randn(2, 4, 5, 16)
    q, v = fact(x, cores)
    for increment, core in ((q, cores.q), (v, cores.v)):
        expected = 0.7 * x @ fact.u.weight.T @ core.weight.T @ fact.v.weight.T
        torch.testing.assert_close(increment, expected)


def test_merged_weights_give_the_same_increments_and_leave_the_key_alone():
    fact, cores = random_fact()
    x, weight = torch.randn(7, 16), torch.randn(48, 16)
    kept = weight.clone()
    query, key, value = (merge_increments(weight, [partial(fact, cores=cores)]) - weight).chunk(3)
    torch.testing.assert_close(x @ query.T, fact(x, cores)[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(x @ value.T, fact(x, cores)[1], rtol=1e-4, atol=1e-5)
    assert not key.any()
    assert torch.equal(weight, kept)


def test_starts_at_zero():
    fact = FacT(dim=16, rank=3, scale=1.0, dropout=0.1)
    assert not any(increment.any() for increment in fact(torch.randn(2, 16), FacTCores(3)))


def test_dropout_is_for_training():
    fact, cores = random_fact(dropout=0.5)
    x = torch.randn(50, 16)
    assert not torch.equal(fact(x, cores)[0], fact(x, cores)[0])
    fact.eval()
    assert torch.equal(fact(x, cores)[0], fact(x, cores)[0])


def test_gradients_reach_all_factors():
    fact, cores = random_fact()
    for parameter in [*fact.parameters(), *cores.parameters()]:
        parameter.data = parameter.data.double()
    x = torch.randn(3, 16, dtype=torch.float64, requires_grad=True)
    inputs = (x, fact.u.weight, fact.v.weight, cores.q.weight, cores.v.weight)
    assert torch.autograd.gradcheck(lambda x, *_: fact(x, cores), inputs)
