"""Attention, plain and by parts, against the formula; padded windows as SAM writes them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_masam.network.adaptation import adapters_disabled
from nnunetv2_masam.network.attention import Attention, decomposed_attention, relative_table
from nnunetv2_masam.network.attention_by_parts import attention_by_parts
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


FORMS = pytest.mark.parametrize("form", [decomposed_attention, attention_by_parts])


@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (14, 14), (17, 16), (20, 13)])
def test_equals_the_formula(grid):
    torch.manual_seed(0)
    tokens = grid[0] * grid[1]
    q, k, v = (torch.randn(2, 3, tokens, 8, dtype=torch.float64) for _ in range(3))
    rel_pos = [torch.randn(2 * side - 1, 8, dtype=torch.float64) for side in grid]
    tables = [relative_table(rel) for rel in rel_pos]
    plain = plain_attention(q, k, v, *rel_pos, grid)
    single = [tensor.float() for tensor in (q, k, v, *tables)]
    for form in (decomposed_attention, attention_by_parts):  # one after the other, as the formula takes longest
        torch.testing.assert_close(form(q, k, v, *tables), plain)
        torch.testing.assert_close(form(*single), plain.float(), rtol=0, atol=1e-5)


@FORMS
@pytest.mark.parametrize("at_once", [1, 2**20])
@pytest.mark.parametrize(("grid", "tile"), [((6, 5), (6, 5)), ((6, 5), (4, 5)), ((6, 5), (6, 2)), ((6, 5), (1, 3))])
def test_values_and_gradients_with_padding(grid, tile, at_once, form, monkeypatch):
    monkeypatch.setattr(f"{attention_by_parts.__module__}._SCORES_AT_ONCE", at_once)
    torch.manual_seed(0)
    heads = [torch.randn(2, 3, tile[0] * tile[1], 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    rel_pos = [torch.randn(2 * side - 1, 4, dtype=torch.float64, requires_grad=True) for side in grid]
    padding = [torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    inputs = [*heads, *rel_pos, *(padding if tile != grid else [])]
    theirs = padded_attention(*heads, *rel_pos, grid, tile, padding)
    q, k, v = heads
    if tile != grid:
        k, v = (torch.cat([x, fill.expand(2, 3, 1, -1)], 2) for x, fill in zip((k, v), padding, strict=True))
    tables = [relative_table(rel)[:n] for rel, n in zip(rel_pos, tile, strict=True)]
    ours = form(q, k, v, *tables)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(theirs)
    grads = [torch.autograd.grad((out * weights).sum(), inputs) for out in (ours, theirs)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def random_attention(window, fact_rank=3, lora_rank=0, dim=16):
    torch.manual_seed(0)
    attention = Attention(dim, heads=2, window=window, fact_rank=fact_rank, lora_rank=lora_rank).eval()
    fact = FacT(dim, rank=3, scale=0.7, dropout=0.5).eval()
    for parameter in [*attention.parameters(), *fact.parameters()]:
        torch.nn.init.normal_(parameter, std=0.3)
    return attention, fact


def test_the_kernel_stores_its_inputs_only():
    """No tensor of tokens times tokens, in training neither."""
    q, k, v = (torch.randn(1, 2, 14 * 14, 8, requires_grad=True) for _ in range(3))
    tables = [torch.randn(14, 14, 8) for _ in range(2)]
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: stored.append(tensor.numel()) or tensor, lambda t: t):
        attention_by_parts(q, k, v, *tables)
    assert sum(stored) <= 3 * q.numel() + 2 * tables[0].numel()


@pytest.mark.parametrize("size", [(14, 14), (15, 28), (32, 9)])
def test_padded_windows_equal_sams(size):
    """Padding before the projection, as SAM does it, gives the same as one key for all of it."""
    attention, fact = random_attention((14, 14))
    x = torch.randn(2, *size, 16)
    padded = F.pad(x, (0, 0, 0, -size[1] % 14, 0, -size[0] % 14))
    rows = []
    for i in range(0, padded.shape[1], 14):
        tiles = [attention(padded[:, i : i + 14, j : j + 14], fact) for j in range(0, padded.shape[2], 14)]
        rows.append(torch.cat(tiles, 2))
    expected = torch.cat(rows, 1)[:, : size[0], : size[1]]
    torch.testing.assert_close(attention(x, fact), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("window", "size"), [((4, 4), (4, 4)), ((14, 14), (15, 28))])
@pytest.mark.parametrize("fact_rank", [0, 3])
@pytest.mark.parametrize("lora_rank", [0, 3])
def test_merged_equals_added(window, size, fact_rank, lora_rank):
    attention, fact = random_attention(window, fact_rank, lora_rank)
    x = torch.randn(2, *size, 16)
    kept = x.clone()
    added = attention(x, fact)
    with torch.no_grad():
        torch.testing.assert_close(attention(x, fact), added, rtol=1e-4, atol=1e-5)
        hook = attention.qkv.register_forward_hook(lambda *_: None)  # who looks sees the layer called
        torch.testing.assert_close(attention(x, fact), added, rtol=0, atol=0)
        hook.remove()
    assert torch.equal(x, kept)
    with adapters_disabled(attention):
        alone = attention(x, fact)
    assert torch.allclose(alone, added) == (not fact_rank and not lora_rank)


@FORMS
def test_bfloat16_autocast_trains_as_float32(form):
    """The kernel's backward pass computes again in the precision of its forward pass."""
    attention, fact = random_attention((4, 4))
    x = torch.randn(2, 5, 7, 16, requires_grad=True)
    grads = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out = attention(x, fact, form)
        grads.append(torch.autograd.grad(out.float().square().sum(), [x, *fact.parameters(), *attention.parameters()]))
    for exact, rounded in zip(*grads, strict=True):
        assert exact.dtype == rounded.dtype
        assert (exact - rounded).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize(("grid", "tile"), [((3, 2), (3, 2)), ((3, 4), (2, 3)), ((1, 3), (1, 1))])
@pytest.mark.parametrize("trained_tables", [False, True])
def test_gradcheck_of_the_kernel(grid, tile, trained_tables, monkeypatch):
    monkeypatch.setattr(f"{attention_by_parts.__module__}._SCORES_AT_ONCE", 1)
    torch.manual_seed(0)
    tokens, keys = math.prod(tile), math.prod(tile) + (tile != grid)
    q, k, v = (torch.randn(1, 3, n, 2, dtype=torch.float64, requires_grad=True) for n in (tokens, keys, keys))
    tables = [torch.randn(t, g, 2, dtype=torch.float64, requires_grad=trained_tables)
              for t, g in zip(tile, grid, strict=True)]  # fmt: skip
    assert torch.autograd.gradcheck(attention_by_parts, (q, k, v, *tables))
