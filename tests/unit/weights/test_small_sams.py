"""SlimSAM and EfficientSAM: their files, under their own names, give what their own networks compute."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import ImageEncoderViT
from torch import Tensor, nn

from nnunetv2_masam.network import MASAM, VIT_PRESETS
from nnunetv2_masam.weights.formats import CheckpointError, recognise_file
from nnunetv2_masam.weights.load import load_sam_checkpoint

SIZE = 224  # 14 x 14 tokens: EfficientSAM's own grid, and one window of SAM's


def randomise(module: nn.Module) -> nn.Module:
    """Weights from a normal distribution: zeros and ones would hide mistakes."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.05)
    return module.eval()


class EfficientEncoder(nn.Module):
    """EfficientSAM's encoder from timm's blocks, which have its names, and torch's layers."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, 16, 16)})
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + 14 * 14, dim))
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.Sequential(*(Block(dim, heads, qkv_bias=True, norm_layer=norm) for _ in range(12)))
        layers = [nn.Conv2d(dim, 256, 1, bias=False), nn.LayerNorm(256, eps=1e-6)]
        self.neck = nn.ModuleList([*layers, nn.Conv2d(256, 256, 3, padding=1, bias=False), nn.LayerNorm(256, eps=1e-6)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch_embed["proj"](x)
        table = self.pos_embed[:, 1:].unflatten(1, (14, 14)).permute(0, 3, 1, 2)
        tokens = tokens + F.interpolate(table, tokens.shape[-2:], mode="bicubic", align_corners=False)
        tokens = self.blocks(tokens.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, tokens.shape[-2:])
        for layer in self.neck:
            channels_last = tokens.permute(0, 2, 3, 1)
            tokens = layer(channels_last).permute(0, 3, 1, 2) if isinstance(layer, nn.LayerNorm) else layer(tokens)
        return tokens


def slim_encoder(vit: str) -> nn.Module:
    """SlimSAM's encoder: SAM's own class at other sizes."""
    size = VIT_PRESETS[vit]
    encoder = ImageEncoderViT(
        img_size=SIZE,
        depth=size.depth,
        embed_dim=size.embed_dim,
        num_heads=size.num_heads,
        mlp_ratio=size.mlp_width / size.embed_dim,
        norm_layer=lambda width: nn.LayerNorm(width, eps=1e-6),
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=size.global_attn_indexes,
        out_chans=256,
    )
    assert encoder.blocks[0].mlp.lin1.out_features == size.mlp_width
    return randomise(encoder)


def saved(encoder: nn.Module, path: Any, wrap: bool = False) -> Any:
    tensors = {f"image_encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({"model": tensors} if wrap else tensors, path)
    return path


def built(vit: str, size: int = SIZE) -> MASAM:
    torch.manual_seed(1)
    return MASAM(3, 2, vit=vit, image_size=(size, size), fact_rank=4, adapter_channels=8).eval()


@pytest.mark.parametrize("vit", ["vit_slim77", pytest.param("vit_slim50", marks=pytest.mark.slow)])
def test_slim_sam(vit, tmp_path):
    theirs = slim_encoder(vit)
    path = saved(theirs, tmp_path / "slim.pth")
    assert recognise_file(path).preset == vit
    ours = built(vit)
    load_sam_checkpoint(ours, path)
    x = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad(), ours.adapters_disabled():
        torch.testing.assert_close(ours.image_encoder(x, depth=1), theirs(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("vit", "dim", "heads", "size"),
    [
        ("vit_efficient_ti", 192, 3, 320),
        pytest.param("vit_efficient_ti", 192, 3, SIZE, marks=pytest.mark.slow),
        pytest.param("vit_efficient_s", 384, 6, 320, marks=pytest.mark.slow),
    ],
)
def test_efficient_sam(vit, dim, heads, size, tmp_path):
    pytest.importorskip("timm")
    theirs = randomise(EfficientEncoder(dim, heads))
    path = saved(theirs, tmp_path / "efficient.pt", wrap=True)
    assert recognise_file(path).preset == vit
    ours = built(vit, size)
    report = load_sam_checkpoint(ours, path)
    assert not [name for name in report.new if name.startswith("image_encoder.") and "fact" not in name
                and "adapter" not in name]  # fmt: skip
    x = torch.randn(1, 3, size, size)
    with torch.no_grad(), ours.adapters_disabled():
        torch.testing.assert_close(ours.image_encoder(x, depth=1), theirs(x), rtol=1e-5, atol=1e-5)


def test_one_is_not_taken_for_the_other(tmp_path):
    """Both are 384 wide with 12 blocks."""
    slim = saved(slim_encoder("vit_slim50"), tmp_path / "slim.pth")
    efficient = saved(EfficientEncoder(384, 6), tmp_path / "efficient.pt")
    with pytest.raises(CheckpointError, match="12 heads"):
        load_sam_checkpoint(built("vit_efficient_s"), slim)
    with pytest.raises(CheckpointError):
        load_sam_checkpoint(built("vit_slim50"), efficient)


def test_windows_need_relative_positions():
    with pytest.raises(ValueError, match="rel_pos=False"):
        MASAM(1, 2, vit={"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": (0,), "rel_pos": False})


@pytest.mark.parametrize("vit", ["vit_slim77", "vit_efficient_ti"])
def test_formula_counts_every_parameter(vit):
    from nnunetv2_masam.planning.memory import Architecture, count_parameters

    network = built(vit)
    counted = sum(p.numel() for p in network.parameters())
    arguments = {"vit": vit, "image_size": [SIZE, SIZE], "fact_rank": 4, "adapter_channels": 8}
    assert count_parameters(Architecture.of(arguments), 2, 3)[0] == pytest.approx(counted, rel=0.01)
