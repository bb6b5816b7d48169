"""Sizes of the vision transformers, as numbers.

B, L and H are SAM's (Kirillov et al., 2023). The ``slim`` ones are SAM's ViT-B pruned and distilled (Chen et al.,
SlimSAM, NeurIPS 2024, uniform pruning); the ``efficient`` ones are plain ViTs distilled from SAM (Xiong et al.,
EfficientSAM, CVPR 2024). ``vit_t`` is ours: small enough to be trained from scratch on a CPU, with nothing pretrained
to load into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATCH_SIZE = 16  # pixels along each side of a token
WINDOW_SIZE = 14  # tokens along each side of a window of local attention
MLP_RATIO = 4  # of a block's MLP to the width of the tokens
EMBEDDING_CHANNELS = 256  # channels between image encoder, prompt encoder and mask decoder


@dataclass(frozen=True)
class ViTSize:
    """Width, depth and attention layout of a SAM image encoder.

    Attributes:
        embed_dim: E.
        depth: number of blocks.
        num_heads: heads of the attention.
        global_attn_indexes: blocks whose attention runs over the whole slice; the others' runs over windows.
        mlp_dim: width between the two layers of a block's MLP; None is four times ``embed_dim``.
        rel_pos: whether attention has decomposed relative positions. Windows need them.
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_attn_indexes: tuple[int, ...]
    mlp_dim: int | None = None
    rel_pos: bool = True

    @property
    def mlp_width(self) -> int:
        """Width between the two layers of a block's MLP."""
        return MLP_RATIO * self.embed_dim if self.mlp_dim is None else self.mlp_dim

    def __post_init__(self) -> None:
        if self.embed_dim % self.num_heads:
            raise ValueError(f"vit: embed_dim ({self.embed_dim}) must be divisible by num_heads ({self.num_heads})")
        outside = [i for i in self.global_attn_indexes if not 0 <= i < self.depth]
        if outside:
            raise ValueError(
                f"vit: global_attn_indexes {outside} lie outside the {self.depth} blocks (0 to {self.depth - 1})"
            )
        if not self.rel_pos and set(self.global_attn_indexes) != set(range(self.depth)):
            raise ValueError(
                f"vit: rel_pos=False with global_attn_indexes {self.global_attn_indexes}; without relative positions "
                f"all {self.depth} blocks must be global"
            )


VIT_PRESETS: dict[str, ViTSize] = {
    "vit_t": ViTSize(embed_dim=128, depth=4, num_heads=4, global_attn_indexes=(0, 1, 2, 3)),
    "vit_b": ViTSize(embed_dim=768, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11)),
    "vit_l": ViTSize(embed_dim=1024, depth=24, num_heads=16, global_attn_indexes=(5, 11, 17, 23)),
    "vit_h": ViTSize(embed_dim=1280, depth=32, num_heads=16, global_attn_indexes=(7, 15, 23, 31)),
    "vit_slim50": ViTSize(embed_dim=384, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11)),
    "vit_slim77": ViTSize(embed_dim=168, depth=12, num_heads=12, global_attn_indexes=(2, 5, 8, 11), mlp_dim=696),
    "vit_efficient_ti": ViTSize(192, 12, 3, global_attn_indexes=tuple(range(12)), rel_pos=False),
    "vit_efficient_s": ViTSize(384, 12, 6, global_attn_indexes=tuple(range(12)), rel_pos=False),
}


def resolve_vit(vit: str | Mapping[str, Any] | ViTSize) -> ViTSize:
    """A preset's name, or a mapping with the fields of :class:`ViTSize` (as plans store it), as a ViTSize.

    Raises:
        ValueError: for an unknown name, missing or surplus fields, or numbers that do not fit together.
    """
    if isinstance(vit, ViTSize):
        return vit
    if isinstance(vit, str):
        if vit not in VIT_PRESETS:
            raise ValueError(f"vit: got {vit!r}, expected one of {', '.join(VIT_PRESETS)} or a dict of sizes")
        return VIT_PRESETS[vit]
    optional = {"mlp_dim", "rel_pos"}
    needed = set(ViTSize.__dataclass_fields__) - optional
    if not needed <= set(vit) <= needed | optional:
        raise ValueError(
            f"vit: got the fields {sorted(vit)}, expected {sorted(needed)} and, if wanted, {sorted(optional)}"
        )
    sizes = dict(vit)
    sizes["global_attn_indexes"] = tuple(sizes["global_attn_indexes"])
    return ViTSize(**sizes)
