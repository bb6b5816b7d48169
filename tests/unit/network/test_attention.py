"""Attention against the plain formula, the padded windows as SAM writes them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_masam.network.attention import Attention, _fused_attention, _relative_table, decomposed_attention
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


def padded_attention(q, k, v, rel_pos_h, rel_pos_w, grid, tile, padding):
    """The same for the first ``tile`` tokens of a grid whose other tokens have the key and value ``padding``."""
    h, w = tile
    whole = []
    for heads, fill in zip((q, k, v), (torch.zeros(q.shape[-1], dtype=q.dtype), *padding), strict=True):
        grid_of_heads = fill.expand(*heads.shape[:2], *grid, -1).clone()
        grid_of_heads[:, :, :h, :w] = heads.unflatten(2, tile)
        whole.append(grid_of_heads.flatten(2, 3))
    out = plain_attention(*whole, rel_pos_h, rel_pos_w, grid)
    return out.unflatten(2, grid)[:, :, :h, :w].flatten(2, 3)


FORMS = pytest.mark.parametrize("attention", [decomposed_attention, _fused_attention])


@FORMS
@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (14, 14), (17, 16), (20, 13)])
def test_equals_plain_formula(grid, attention):
    torch.manual_seed(0)
    tokens = grid[0] * grid[1]
    q, k, v = (torch.randn(2, 3, tokens, 8, dtype=torch.float64) for _ in range(3))
    rel_pos = [torch.randn(2 * side - 1, 8, dtype=torch.float64) for side in grid]
    tables = [_relative_table(rel, side) for rel, side in zip(rel_pos, grid, strict=True)]
    plain = plain_attention(q, k, v, *rel_pos, grid)
    torch.testing.assert_close(attention(q, k, v, *tables), plain)
    single = [tensor.float() for tensor in (q, k, v, *tables)]
    torch.testing.assert_close(attention(*single), plain.float(), rtol=0, atol=1e-5)


@FORMS
@pytest.mark.parametrize("at_once", [1, 2**20])
@pytest.mark.parametrize(("grid", "tile"), [((6, 5), (6, 5)), ((6, 5), (4, 5)), ((6, 5), (6, 2)), ((6, 5), (1, 3))])
def test_values_and_gradients_with_padding(grid, tile, at_once, attention, monkeypatch):
    monkeypatch.setattr("nnunetv2_masam.network.attention._SCORES_AT_ONCE", at_once)
    torch.manual_seed(0)
    heads = [torch.randn(2, 3, tile[0] * tile[1], 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    rel_pos = [torch.randn(2 * side - 1, 4, dtype=torch.float64, requires_grad=True) for side in grid]
    padding = [torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    inputs = [*heads, *rel_pos, *(padding if tile != grid else [])]
    theirs = padded_attention(*heads, *rel_pos, grid, tile, padding)
    q, k, v = heads
    if tile != grid:
        k, v = (torch.cat([x, fill.expand(2, 3, 1, -1)], 2) for x, fill in zip((k, v), padding, strict=True))
    tables = [_relative_table(rel, side)[:n] for rel, side, n in zip(rel_pos, grid, tile, strict=True)]
    ours = attention(q, k, v, *tables)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(theirs)
    grads = [torch.autograd.grad((out * weights).sum(), inputs) for out in (ours, theirs)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_stores_its_inputs_only():
    """No tensor of tokens times tokens, in training neither."""
    q, k, v = (torch.randn(1, 2, 14 * 14, 8, requires_grad=True) for _ in range(3))
    tables = [torch.randn(14, 14, 8) for _ in range(2)]
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: stored.append(tensor.numel()) or tensor, lambda t: t):
        decomposed_attention(q, k, v, *tables)
    assert sum(stored) <= 3 * q.numel() + 2 * tables[0].numel()


@pytest.mark.parametrize("size", [(14, 14), (15, 28), (32, 9)])
def test_padded_windows_equal_sams(size):
    """Padding before the projection, as SAM does it, gives the same as filling in afterwards."""
    torch.manual_seed(0)
    attention = Attention(dim=16, num_heads=2, grid=(14, 14), fact_rank=3).eval()
    fact = FacT(dim=16, rank=3, scale=0.7, dropout=0.0)
    for parameter in [*attention.parameters(), *fact.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    x, norm = torch.randn(2, *size, 16), torch.nn.LayerNorm(16)  # which leaves zeros zero
    padded = F.pad(x, (0, 0, 0, -size[1] % 14, 0, -size[0] % 14))
    rows = []
    for i in range(0, padded.shape[1], 14):
        rows.append(
            torch.cat(
                [attention(padded[:, i : i + 14, j : j + 14], norm, fact) for j in range(0, padded.shape[2], 14)],
                2,
            )
        )
    expected = torch.cat(rows, 1)[:, : size[0], : size[1]]
    torch.testing.assert_close(attention(x, norm, fact), expected)


def test_fact_merged_equals_added():
    torch.manual_seed(0)
    attention = Attention(dim=16, num_heads=2, grid=(4, 4), fact_rank=3).eval()
    fact = FacT(dim=16, rank=3, scale=0.7, dropout=0.5).eval()
    for parameter in [*attention.parameters(), *fact.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    x, norm = torch.randn(2, 4, 4, 16), torch.nn.LayerNorm(16)
    added = attention(x, norm, fact)
    with torch.no_grad():
        merged = attention(x, norm, fact)
    torch.testing.assert_close(added, merged)
    assert not torch.allclose(added, attention(x, norm, None))


def test_bfloat16_autocast_trains_as_float32():
    """The backward pass computes again in the precision of the forward pass."""
    torch.manual_seed(0)
    attention = Attention(dim=16, num_heads=2, grid=(4, 4), fact_rank=3)
    fact = FacT(dim=16, rank=3, scale=1.0, dropout=0.0)
    for parameter in [*attention.parameters(), *fact.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    x, norm = torch.randn(2, 5, 7, 16, requires_grad=True), torch.nn.LayerNorm(16)
    grads = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = attention(x, norm, fact)
        grads.append(torch.autograd.grad(out.float().square().sum(), [x, *fact.parameters(), *attention.parameters()]))
    for exact, rounded in zip(*grads, strict=True):
        assert exact.dtype == rounded.dtype
        assert (exact - rounded).norm() < 0.03 * exact.norm()
