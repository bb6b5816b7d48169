"""Attention against the plain formula, the padded windows as SAM writes them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_masam.network.attention import Attention, decomposed_attention
from nnunetv2_masam.network.fact import FacT


def plain_attention(q, k, v, rel_pos_h, rel_pos_w, grid):
    """Every score written out."""
    h, w = grid
    scores = torch.einsum("bntd,bnsd->bnts", q, k) * q.shape[-1] ** -0.5
    for t in range(h * w):
        for s in range(h * w):
            distance_h = t // w - s // w + h - 1
            distance_w = t % w - s % w + w - 1
            scores[:, :, t, s] += q[:, :, t] @ (rel_pos_h[distance_h] + rel_pos_w[distance_w])
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (14, 14), (17, 16), (20, 13)])
def test_equals_plain_formula(grid):
    torch.manual_seed(0)
    tokens = grid[0] * grid[1]
    q, k, v = (torch.randn(2, 3, tokens, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    tables = [torch.randn(2 * side - 1, 8, dtype=torch.float64, requires_grad=True) for side in grid]
    inputs = [q, k, v, *tables]
    ours = decomposed_attention(*inputs, grid)
    with torch.no_grad():
        plain = plain_attention(*inputs, grid)
    torch.testing.assert_close(ours, plain)
    single = [tensor.detach().float() for tensor in inputs]
    torch.testing.assert_close(decomposed_attention(*single, grid), plain.float(), rtol=0, atol=1e-5)


def test_gradients_equal_plain_formula():
    torch.manual_seed(0)
    grid = (17, 16)  # more tokens than a stored bias is used for
    inputs = [torch.randn(1, 1, 17 * 16, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    inputs += [torch.randn(2 * side - 1, 4, dtype=torch.float64, requires_grad=True) for side in grid]
    weights = torch.randn(1, 1, 17 * 16, 4, dtype=torch.float64)
    q, k, v, rel_h, rel_w = inputs
    rows = torch.arange(17)
    columns = torch.arange(16)
    table_h = rel_h[rows[:, None] - rows + 16]
    table_w = rel_w[columns[:, None] - columns + 15]
    bias = torch.einsum("bnhwd,hkd->bnhwk", q.unflatten(2, grid), table_h)[..., None]
    bias = bias + torch.einsum("bnhwd,wkd->bnhwk", q.unflatten(2, grid), table_w)[..., None, :]
    scores = q @ k.transpose(-1, -2) * 4**-0.5 + bias.flatten(4).flatten(2, 3)
    theirs = torch.autograd.grad(((scores.softmax(-1) @ v) * weights).sum(), inputs)
    ours = torch.autograd.grad((decomposed_attention(*inputs, grid) * weights).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("size", [(14, 14), (15, 28), (32, 9)])
def test_padded_windows_equal_sams(size):
    """Padding before the projection, as SAM does it, gives the same as filling in afterwards."""
    torch.manual_seed(0)
    attention = Attention(dim=16, num_heads=2, grid=(14, 14), windowed=True, fact_rank=3).eval()
    fact = FacT(dim=16, rank=3, scale=0.7, dropout=0.0)
    for parameter in [*attention.parameters(), *fact.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, *size, 16)
    padded = F.pad(x, (0, 0, 0, -size[1] % 14, 0, -size[0] % 14))
    rows = []
    for i in range(0, padded.shape[1], 14):
        rows.append(
            torch.cat([attention(padded[:, i : i + 14, j : j + 14], fact) for j in range(0, padded.shape[2], 14)], 2)
        )
    expected = torch.cat(rows, 1)[:, : size[0], : size[1]]
    torch.testing.assert_close(attention(x, fact), expected)


def test_fact_merged_equals_added():
    torch.manual_seed(0)
    attention = Attention(dim=16, num_heads=2, grid=(4, 4), windowed=False, fact_rank=3).eval()
    fact = FacT(dim=16, rank=3, scale=0.7, dropout=0.5).eval()
    for parameter in [*attention.parameters(), *fact.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 4, 4, 16)
    added = attention(x, fact)
    with torch.no_grad():
        merged = attention(x, fact)
    torch.testing.assert_close(added, merged)
    assert not torch.allclose(added, attention(x, None))
