"""The MA-SAM authors' network, from a checkout of their code that the user provides, and ours with the same weights.

    git clone https://github.com/cchen-cc/MA-SAM && git -C MA-SAM checkout 0c3cd90

Their code is imported from there and never copied.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from nnunetv2_masam.network import MASAM, resolve_vit
from nnunetv2_masam.weights import load_masam_checkpoint, load_sam_checkpoint


def comparison_parser(description: str | None, slices: int = 5) -> argparse.ArgumentParser:
    """What the benchmarks against their code have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="checkout of the authors' code")
    parser.add_argument("--vit", default="vit_b")
    parser.add_argument("--size", type=int, default=512, help="pixels")
    parser.add_argument("--slices", type=int, default=slices)
    return parser


def build_theirs(checkout: Path, vit: str, image_size: int, num_classes: int, rank: int = 32) -> nn.Module:
    """Their ``Fact_tt_Sam`` with random weights; ``num_classes`` without background, as they count.

    Raises:
        FileNotFoundError: ``checkout`` is not one of theirs.
    """
    package = checkout / "MA-SAM"
    if not (package / "sam_fact_tt_image_encoder.py").is_file():
        raise FileNotFoundError(
            f"--reference: {package} has no sam_fact_tt_image_encoder.py; see benchmarks/reference.py"
        )
    for name in ("einops", "icecream", "imageio", "medpy", "nibabel"):  # imported there, used by nothing that runs here
        sys.modules.setdefault(name, MagicMock())
    sys.path.insert(0, str(package))
    from sam_fact_tt_image_encoder import Fact_tt_Sam
    from segment_anything.build_sam import _build_sam

    size = resolve_vit(vit)
    sam, _ = _build_sam(
        size.embed_dim, size.depth, size.num_heads, list(size.global_attn_indexes),
        num_classes, image_size, [0.0] * 3, [1.0] * 3,
    )  # fmt: skip
    for parameter in sam.image_encoder.parameters():
        if parameter.ndim > 1:  # relative positions start at zero, and would hide mistakes
            nn.init.normal_(parameter, std=0.02)
    return Fact_tt_Sam(sam, rank)


def build_ours(theirs: nn.Module, vit: str, image_size: int, num_classes: int, **kwargs: object) -> MASAM:
    """Our network with the weights of theirs, through the files that their code saves."""
    ours = MASAM(1, num_classes + 1, vit=vit, image_size=(image_size, image_size), **kwargs)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        torch.save(_as_sam(theirs), Path(folder) / "sam.pth")
        theirs.save_parameters(str(Path(folder) / "adapt.pth"))
        load_sam_checkpoint(ours, Path(folder) / "sam.pth")
        load_masam_checkpoint(ours, Path(folder) / "adapt.pth")
    return ours


def _as_sam(theirs: nn.Module) -> dict[str, Tensor]:
    """The frozen encoder under SAM's names."""
    renamed = {}
    for name, tensor in theirs.sam.state_dict().items():
        if "adapter_" in name or "FacT" in name:
            continue
        name = name.replace("ImageEncoderViT.", "").replace("Block.", "").replace("Attention.", "")
        renamed[name.replace("qkv.qkv.", "qkv.")] = tensor.clone()
    return renamed


def their_input(volume: Tensor) -> Tensor:
    """(B, 1, D, S, S) as they take it: (B, D, 3, S, S)."""
    return volume[:, 0, :, None].expand(-1, -1, 3, -1, -1)


def their_logits(theirs: nn.Module, volume: Tensor) -> Tensor:
    """Logits (B·D, K, S, S) of their network for (B, 1, D, S, S)."""
    return theirs(their_input(volume), True, volume.shape[-1])["low_res_logits"]


def their_loss(num_classes: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Their loss of logits (B·D, K, S, S) and labels (B·D, S, S), as their ``trainer.py`` puts it together.

    Args:
        num_classes: without background; K = ``num_classes`` + 1.
    """
    from utils import DiceLoss

    cross_entropy, dice = nn.CrossEntropyLoss(ignore_index=-100), DiceLoss(num_classes + 1)
    return lambda logits, labels: 0.2 * cross_entropy(logits, labels) + 0.8 * dice(logits, labels, softmax=True)
