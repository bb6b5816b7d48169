"""A model saved by transformers itself, read by our table, computes the same in segment_anything's classes.

Runs where transformers is installed; the table's literal names are tested without it in ``test_formats.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from nnunetv2_masam.weights.formats import read_sam_checkpoint

transformers = pytest.importorskip("transformers")


def test_transformers_model_computes_the_same(tmp_path: Path, tiny_sam: nn.Module) -> None:
    torch.manual_seed(0)
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "global_attn_indexes": [1],
            "image_size": 64,
            "mlp_dim": 128,
            "output_channels": 32,
            "num_pos_feats": 16,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 64},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
    )
    theirs = transformers.SamModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    checkpoint = read_sam_checkpoint(tmp_path)
    assert checkpoint.naming == "Hugging Face SamModel"
    tiny_sam.load_state_dict(checkpoint.state_dict, strict=True)
    ours = tiny_sam.eval()

    image, box = torch.randn(1, 3, 64, 64), torch.tensor([[8.0, 10.0, 40.0, 50.0]])
    mask_prompt = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        expected = theirs(pixel_values=image, input_boxes=box[None], multimask_output=True)
        sparse, dense = ours.prompt_encoder(points=None, boxes=box, masks=None)
        masks, scores = ours.mask_decoder(
            image_embeddings=ours.image_encoder(image),
            image_pe=ours.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        our_mask_embedding = ours.prompt_encoder.mask_downscaling(mask_prompt)
        their_mask_embedding = theirs.prompt_encoder.mask_embed(mask_prompt)
    # float32 over two blocks and a decoder, in differently ordered sums
    torch.testing.assert_close(masks, expected.pred_masks[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scores, expected.iou_scores[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(our_mask_embedding, their_mask_embedding)
