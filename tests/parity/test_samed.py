"""SAMed's network put together from segment_anything's own modules, as its paper describes it, against ours."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import nn

from nnunetv2_masam.network.sam_parts import _modeling as sam
from tests.conftest import TINY_VIT
from tests.recipes import nnUNetTrainerSAMed, small_network

SIDE, CLASSES = 240, 3  # 15 x 15 tokens: windows of 14 are padded


class LoRAOnSam(nn.Module):
    """SAM's projection to query, key and value with increments on the first and the last third."""

    def __init__(self, qkv: nn.Linear, rank: int) -> None:
        super().__init__()
        self.qkv = qkv
        self.down, self.up = (
            nn.ModuleList(nn.Linear(*sizes, bias=False) for _ in range(2))
            for sizes in ((qkv.in_features, rank), (rank, qkv.in_features))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return torch.cat([q + self.up[0](self.down[0](x)), k, v + self.up[1](self.down[1](x))], dim=-1)


class SAMedFromParts(nn.Module):
    """Encoder with LoRA, prompt encoder without prompts, SAM's decoder with one mask token for each class."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        sizes = {**TINY_VIT}
        self.image_encoder = sam.ImageEncoderViT(
            img_size=SIDE, patch_size=16, mlp_ratio=4, norm_layer=partial(nn.LayerNorm, eps=1e-6), qkv_bias=True,
            use_rel_pos=True, window_size=14, out_chans=256, in_chans=1, **sizes,
        )  # fmt: skip
        for block in self.image_encoder.blocks:
            block.attn.qkv = LoRAOnSam(block.attn.qkv, rank)
        grid = (SIDE // 16, SIDE // 16)
        self.prompt_encoder = sam.PromptEncoder(256, grid, (SIDE, SIDE), mask_in_chans=16)
        transformer = sam.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        self.mask_decoder = sam.MaskDecoder(
            transformer_dim=256, transformer=transformer, num_multimask_outputs=CLASSES - 1
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 1, S, S) to (N, K, S, S), SAM's low-resolution masks enlarged."""
        embedding = self.image_encoder(image)
        sparse, dense = self.prompt_encoder(points=None, boxes=None, masks=None)
        low, _ = self.mask_decoder.predict_masks(embedding, self.prompt_encoder.get_dense_pe(), sparse, dense)
        return nn.functional.interpolate(low, (SIDE, SIDE), mode="bilinear", align_corners=False)


def renamed(theirs: SAMedFromParts) -> dict[str, torch.Tensor]:
    """The reference's weights under our names."""
    weights = {}
    for name, tensor in theirs.state_dict().items():
        if "iou_prediction_head" in name:
            continue
        for old, new in (
            ("attn.qkv.qkv.", "attn.qkv."),
            ("attn.qkv.down.0.", "attn.lora.a_q."), ("attn.qkv.up.0.", "attn.lora.b_q."),
            ("attn.qkv.down.1.", "attn.lora.a_v."), ("attn.qkv.up.1.", "attn.lora.b_v."),
            ("mask_decoder.mask_tokens.", "mask_decoder.seg_layers.mask_tokens."),
            ("mask_decoder.output_hypernetworks_mlps.", "mask_decoder.seg_layers.hypernetworks."),
        ):  # fmt: skip
            name = name.replace(old, new)
        weights[name] = tensor
    return weights


def test_logits_and_gradients_equal_the_reference():
    torch.manual_seed(0)
    rank = nnUNetTrainerSAMed.rules.arch_kwargs["lora_rank"]
    theirs = SAMedFromParts(rank)
    for parameter in theirs.image_encoder.parameters():
        nn.init.normal_(parameter, std=0.1)
    ours = small_network(nnUNetTrainerSAMed, image_size=(SIDE, SIDE))
    ours.load_state_dict(renamed(theirs))
    x = torch.randn(1, 1, 2, SIDE, SIDE)
    expected = theirs(x[0].transpose(0, 1)).transpose(0, 1)[None]  # (1, K, D, S, S)
    got = ours(x)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))
    for logits in (got, expected):
        logits.square().mean().backward()
    gradients = dict(ours.named_parameters())
    reference = renamed_gradients(theirs)
    compared = [name for name, parameter in gradients.items() if parameter.grad is not None]
    assert sum(".lora." in name for name in compared) == 4 * TINY_VIT["depth"]
    largest = max(float(reference[name].abs().max()) for name in compared)
    for name in compared:
        difference = (gradients[name].grad - reference[name]).abs().max()
        assert difference <= 1e-5 * largest, name


def renamed_gradients(theirs: SAMedFromParts) -> dict[str, torch.Tensor]:
    """The reference's gradients under our names; zeros where there are none."""
    for parameter in theirs.parameters():
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return renamed(theirs)


def test_lora_starts_as_in_the_paper():
    """A by Kaiming's rule, which is nn.Linear's own, and B at zero."""
    torch.manual_seed(0)
    ours = small_network(nnUNetTrainerSAMed)
    bound = math.sqrt(1 / TINY_VIT["embed_dim"])
    for block in ours.image_encoder.blocks:
        for down, up in ((block.attn.lora.a_q, block.attn.lora.b_q), (block.attn.lora.a_v, block.attn.lora.b_v)):
            assert 0.5 * bound < down.weight.abs().max() <= bound
            assert not up.weight.any()
