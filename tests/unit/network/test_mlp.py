"""SAM's MLP in a block: around its residual connection, plain and in groups of slices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nnunetv2_masam.network.adaptation import adapters_disabled
from nnunetv2_masam.network.attention import decomposed_attention
from nnunetv2_masam.network.image_encoder import Block
from nnunetv2_masam.network.kernels import prediction
from nnunetv2_masam.network.presets import ViTSize

VIT = ViTSize(embed_dim=8, depth=1, num_heads=2, global_attn_indexes=(0,))


def random_block() -> Block:
    torch.manual_seed(0)
    block = Block(VIT, (3, 2), fact_rank=0, adapter_channels=4, lora_rank=0).eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return block


def test_a_block_adds_attention_and_mlp_to_its_input():
    block = random_block()
    x = torch.randn(2, 3, 2, 8)
    with adapters_disabled(block):
        out = block(x, None, 2)
    x = x + block.attn(F.layer_norm(x, (8,), block.norm1.weight, block.norm1.bias, 1e-6))
    hidden = F.layer_norm(x, (8,), block.norm2.weight, block.norm2.bias, 1e-6) @ block.mlp.lin1.weight.T
    hidden = F.gelu(hidden + block.mlp.lin1.bias)
    torch.testing.assert_close(out, x + hidden @ block.mlp.lin2.weight.T + block.mlp.lin2.bias)


@pytest.mark.parametrize("tokens_at_once", [1, 12, 2**10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_block_in_groups_equals_the_plain_one(tokens_at_once, dtype, monkeypatch):
    monkeypatch.setattr(prediction, "_TOKENS_AT_ONCE_ON_CPU", tokens_at_once)
    block = random_block()
    x = torch.randn(2 * 5, 3, 2, 8)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        expected = block(x, None, 5)
        in_groups = prediction.predict_block(block, x, None, 5, decomposed_attention)
    assert in_groups is x
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(in_groups, expected, **tolerance)
