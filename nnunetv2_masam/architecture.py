"""The network's arguments as numbers and names: sizes of vision transformers, defaults, checks.

Nothing here needs torch, so planning and commands read it quickly. Of the sizes, B, L and H are SAM's (Kirillov et al.,
2023). The ``slim`` ones are SAM's ViT-B pruned and distilled (Chen et al., SlimSAM, NeurIPS 2024, uniform pruning); the
``efficient`` ones are plain ViTs distilled from SAM (Xiong et al., EfficientSAM, CVPR 2024). ``vit_t`` is ours: small
enough to be trained from scratch on a CPU, with nothing pretrained to load into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PATCH_SIZE = 16  # pixels along each side of a token
WINDOW_SIZE = 14  # tokens along each side of a window of local attention
MLP_RATIO = 4  # of a block's MLP to the width of the tokens
EMBEDDING_CHANNELS = 256  # channels between image encoder, prompt encoder and mask decoder

TIMM = "timm:"  # before the name of an encoder that timm builds
PROMPTS = ("none", "box")
TRAINABLE = ("masam", "decoder", "all")


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


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}")


def check_numbers(at_least: int, **numbers: int) -> None:
    """Raise a ValueError if one of ``numbers`` is smaller than ``at_least``."""
    for name, value in numbers.items():
        if value < at_least:
            raise ValueError(f"{name}: got {value}, expected {at_least} or more")


def check_image_size(image_size: Sequence[int]) -> tuple[int, int]:
    """(S, S'), pixels. Raises a ValueError unless these are two multiples of a token's side."""
    size = tuple(int(side) for side in image_size)
    if len(size) != 2 or any(side < PATCH_SIZE or side % PATCH_SIZE for side in size):
        raise ValueError(f"image_size: got {tuple(image_size)}, expected two multiples of {PATCH_SIZE}, a token's side")
    return size[0], size[1]


def check_encoder(encoder: str) -> None:
    """Raise a ValueError unless ``encoder`` is ``sam`` or ``timm:`` and a name."""
    if encoder != "sam" and (not encoder.startswith(TIMM) or encoder == TIMM):
        raise ValueError(
            f"encoder: got {encoder!r}, expected 'sam' or 'timm:NAME', such as timm:vit_base_patch16_dinov3"
        )


@dataclass(frozen=True)
class AdaptationSize:
    """What is added to an image encoder; :class:`~nnunetv2_masam.network.masam.MASAM` describes the fields.

    Raises:
        ValueError: a field has no meaning; the message names it.
    """

    fact_rank: int = 32
    fact_scale: float = 1.0
    fact_dropout: float = 0.1
    adapter_channels: int = 384
    adapter_kernel: int = 3
    adapter_dilation: int = 1
    lora_rank: int = 0

    def __post_init__(self) -> None:
        check_numbers(0, fact_rank=self.fact_rank, adapter_channels=self.adapter_channels, lora_rank=self.lora_rank)
        check_numbers(1, adapter_dilation=self.adapter_dilation)
        if self.adapter_kernel < 1 or self.adapter_kernel % 2 == 0:
            raise ValueError(
                f"adapter_kernel: got {self.adapter_kernel}, expected an odd number, so that a slice has as many on "
                "either side"
            )


@dataclass(frozen=True)
class Defaults(AdaptationSize):
    """Defaults of :class:`~nnunetv2_masam.network.masam.MASAM`, which describes the arguments. Plans may omit them."""

    encoder: str = "sam"
    vit: str = "vit_b"
    image_size: tuple[int, int] = (512, 512)
    decoder_doublings: int = 4
    prompt: str = "none"
    trainable: str = "masam"
    gradient_checkpointing: bool = False
    half_turn: bool = False


DEFAULTS = Defaults()
