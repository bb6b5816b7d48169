"""A synthetic SAM of the real structure and key names: 2 blocks, embedding dimension 32, 64-pixel images."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nnunetv2_masam.network import sam_parts

# segment_anything without its torchvision; sam_parts says why
_sam = sys.modules[f"{sam_parts.__name__}.modeling"]


@pytest.fixture
def tiny_sam() -> nn.Module:
    """Of segment_anything's own classes; block 0 is windowed, block 1 global, 2 heads."""
    return build_tiny_sam()


def build_tiny_sam() -> nn.Module:
    return _sam.Sam(
        image_encoder=_sam.ImageEncoderViT(
            depth=2,
            embed_dim=32,
            img_size=64,
            mlp_ratio=4,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=2,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=14,
            out_chans=32,
        ),
        prompt_encoder=_sam.PromptEncoder(
            embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=16
        ),
        mask_decoder=_sam.MaskDecoder(
            num_multimask_outputs=3,
            transformer=_sam.TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=2),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=32,
        ),
    )


@pytest.fixture(scope="session")
def sam_state_dict() -> dict[str, Tensor]:
    """Distinct values everywhere: SAM's own start at zero would hide a tensor under the wrong name."""
    torch.manual_seed(0)
    return {name: torch.randn_like(tensor) for name, tensor in build_tiny_sam().state_dict().items()}


@pytest.fixture
def sam_file(tmp_path: Path, sam_state_dict: dict[str, Tensor]) -> Path:
    path = tmp_path / "sam.pth"
    torch.save(sam_state_dict, path)
    return path
