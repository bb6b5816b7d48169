"""SAM's MLP in a block: around its residual connection."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from nnunetv2_masam.architecture import AdaptationSize, ViTSize
from nnunetv2_masam.network.adaptation import adapters_disabled
from nnunetv2_masam.network.image_encoder import Block

VIT = ViTSize(embed_dim=8, depth=1, num_heads=2, global_attn_indexes=(0,))


def random_block() -> Block:
    torch.manual_seed(0)
    block = Block(VIT, (3, 2), AdaptationSize(fact_rank=0, adapter_channels=4)).eval()
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
