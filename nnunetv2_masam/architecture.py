"""The network's arguments as numbers and names: sizes of vision transformers, defaults, checks.

Nothing here needs torch, so planning and commands read it quickly. Of the sizes, B, L and H are SAM's (Kirillov et al.,
2023). The ``slim`` ones are SAM's ViT-B pruned and distilled (Chen et al., SlimSAM, NeurIPS 2024, uniform pruning); the
``efficient`` ones are plain ViTs distilled from SAM (Xiong et al., EfficientSAM, CVPR 2024). ``vit_t`` is ours: small
enough to be trained from scratch on a CPU, with nothing pretrained to load into it. ``mobile_sam`` and ``lite_medsam``
are TinyViTs (Wu et al., ECCV 2022) distilled from SAM (Zhang et al., MobileSAM, 2023) and from MedSAM (LiteMedSAM, the
baseline of the challenge MedSAM on Laptop, CVPR 2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, ClassVar

PATCH_SIZE = 16  # pixels along each side of a token
WINDOW_SIZE = 14  # tokens along each side of a window of local attention
MLP_RATIO = 4  # of a block's MLP to the width of the tokens
ADAPTER_CHANNELS = 384  # of the paper's 3D adapters
EMBEDDING_CHANNELS = 256  # channels between image encoder, prompt encoder and mask decoder

TIMM = "timm:"  # before the name of an encoder that timm builds
HIERA = TIMM + "sam2_hiera_"  # before the size of SAM 2's
HIERA_STEP = 32  # pixels: eight tokens of the first stage, which its position table repeats after
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
    stride: ClassVar[int] = PATCH_SIZE  # pixels along each side of a token
    input_range: ClassVar[None] = None  # mean 0 and standard deviation 1, as nnU-Net gives them

    @property
    def mlp_width(self) -> int:
        """Width between the two layers of a block's MLP."""
        return MLP_RATIO * self.embed_dim if self.mlp_dim is None else self.mlp_dim

    def adapter_channels(self, width: int) -> int:
        """A, where the arguments leave it open: the paper's, for blocks of any ``width``."""
        return ADAPTER_CHANNELS

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


@dataclass(frozen=True)
class TinyViTSize:
    """Stages of a hierarchical image encoder: the first convolves, the others attend within windows.

    Attributes:
        widths: E of every stage.
        depths: blocks of every stage.
        num_heads: heads of the attention, of every stage but the first.
        windows: tokens along each side of a window, of every stage but the first.
        merge_strides: step of the convolution that ends a stage, of every stage but the last.
        patch_stride: pixels along each side of a token of the first stage: 4 with a patch embedding of two 3 x 3
            convolutions, 1 with one of two 1 x 1 convolutions.
        input_range: the z-scores that are mapped to 0 and 1, and beyond which values are clamped, for weights that
            have seen slices scaled to 0 to 1; None leaves z-scores as they are. That of ``lite_medsam``, -2.5 to 2,
            comes closest to its training data, where each slice was scaled by its own minimum and maximum: on average
            values differ by 0.093 from that on hippocampus MRI and by 0.092 on an abdominal CT.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    windows: tuple[int, ...]
    merge_strides: tuple[int, ...]
    patch_stride: int
    input_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        stages = len(self.widths)
        lengths = {"depths": stages, "num_heads": stages - 1, "windows": stages - 1, "merge_strides": stages - 1}
        for name, length in lengths.items():
            if len(getattr(self, name)) != length:
                got = getattr(self, name)
                raise ValueError(f"vit: {name} {got} has {len(got)} numbers, expected {length} with {stages} widths")
        if self.patch_stride not in (1, 4):
            raise ValueError(f"vit: got patch_stride {self.patch_stride}, expected 1 or 4")
        for width, heads in zip(self.widths[1:], self.num_heads, strict=True):
            if width % heads:
                raise ValueError(f"vit: the width {width} of a stage must be divisible by its num_heads ({heads})")

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels along each side of a token, in every stage."""
        return tuple(self.patch_stride * math.prod(self.merge_strides[:stage]) for stage in range(len(self.widths)))

    @property
    def stride(self) -> int:
        """Pixels along each side of a token of the last stage."""
        return self.strides[-1]

    def adapter_channels(self, width: int) -> int:
        """A, where the arguments leave it open: half the ``width`` of the block."""
        return width // 2


_LITE_MEDSAM = TinyViTSize(
    widths=(64, 128, 160, 320),
    depths=(2, 2, 6, 2),
    num_heads=(4, 5, 10),
    windows=(7, 14, 7),
    merge_strides=(2, 2, 1),
    patch_stride=1,
    input_range=(-2.5, 2.0),
)

TINY_VIT_PRESETS: dict[str, TinyViTSize] = {
    "lite_medsam": _LITE_MEDSAM,
    "mobile_sam": replace(_LITE_MEDSAM, patch_stride=4, input_range=None),
}

EncoderSize = ViTSize | TinyViTSize


def resolve_vit(vit: str | Mapping[str, Any] | EncoderSize) -> EncoderSize:
    """A preset's name, or a mapping with the fields of a size (as plans store it), as a size.

    A mapping with ``widths`` is a :class:`TinyViTSize`, any other a :class:`ViTSize`.

    Raises:
        ValueError: for an unknown name, missing or surplus fields, or numbers that do not fit together.
    """
    if isinstance(vit, ViTSize | TinyViTSize):
        return vit
    if isinstance(vit, str):
        presets: dict[str, EncoderSize] = {**VIT_PRESETS, **TINY_VIT_PRESETS}
        if vit not in presets:
            raise ValueError(f"vit: got {vit!r}, expected one of {', '.join(presets)} or a dict of sizes")
        return presets[vit]
    kind: type[EncoderSize] = TinyViTSize if "widths" in vit else ViTSize
    optional = {field.name for field in fields(kind) if field.default is not MISSING}
    needed = {field.name for field in fields(kind)} - optional
    if not needed <= set(vit) <= needed | optional:
        raise ValueError(
            f"vit: got the fields {sorted(vit)}, expected {sorted(needed)} and, if wanted, {sorted(optional)}"
        )
    sizes: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in vit.items()}
    return kind(**sizes)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}")


def check_numbers(at_least: int, **numbers: int) -> None:
    """Raise a ValueError if one of ``numbers`` is smaller than ``at_least``."""
    for name, value in numbers.items():
        if value < at_least:
            raise ValueError(f"{name}: got {value}, expected {at_least} or more")


def check_image_size(image_size: Sequence[int], stride: int = PATCH_SIZE) -> tuple[int, int]:
    """(S, S'), pixels. Raises a ValueError unless these are two multiples of a token's side, ``stride``."""
    size = tuple(int(side) for side in image_size)
    if len(size) != 2 or any(side < stride or side % stride for side in size):
        raise ValueError(f"image_size: got {tuple(image_size)}, expected two multiples of {stride}, a token's side")
    return size[0], size[1]


def check_input_range(input_range: str | Sequence[float] | None, vit: EncoderSize | None) -> tuple[float, float] | None:
    """The z-scores that become 0 and 1, or None; ``auto`` is what ``vit`` says. Raises a ValueError otherwise."""
    if input_range == "auto":
        return None if vit is None else vit.input_range
    if input_range is None:
        return None
    ends = () if isinstance(input_range, str) else tuple(float(end) for end in input_range)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"input_range: got {input_range!r}, expected 'auto', None, or two increasing numbers")
    return ends[0], ends[1]


def resolve_doublings(decoder_doublings: int | None, stride: int) -> int:
    """Times that the decoder doubles the token grid; None is as often as gives logits at the input's resolution.

    Raises:
        ValueError: fewer than one, or more than a token of ``stride`` pixels has room for.
    """
    most = stride.bit_length() - 1
    doublings = most if decoder_doublings is None else decoder_doublings
    if not 1 <= doublings <= most:
        raise ValueError(
            f"decoder_doublings: got {doublings}, expected 1 to {most} with tokens of {stride} pixels; SAM's own head "
            "has 2"
        )
    return doublings


def check_encoder(encoder: str) -> None:
    """Raise a ValueError unless ``encoder`` is ``sam`` or ``timm:`` and a name."""
    if encoder != "sam" and (not encoder.startswith(TIMM) or encoder == TIMM):
        raise ValueError(
            f"encoder: got {encoder!r}, expected 'sam' or 'timm:NAME', such as timm:vit_base_patch16_dinov3"
        )


@dataclass(frozen=True)
class AdaptationSize:
    """Sizes of what is added to an image encoder; :class:`~nnunetv2_masam.network.masam.MASAM` describes the fields.

    Raises:
        ValueError: a field has no meaning; the message names it.
    """

    fact_rank: int = 32
    fact_scale: float = 1.0
    fact_dropout: float = 0.1
    adapter_channels: int | None = None
    adapter_kernel: int = 3
    adapter_dilation: int = 1
    lora_rank: int = 0

    def __post_init__(self) -> None:
        check_numbers(0, fact_rank=self.fact_rank, lora_rank=self.lora_rank)
        check_numbers(0, adapter_channels=self.adapter_channels or 0)
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
    input_range: str | tuple[float, float] | None = "auto"
    decoder_doublings: int | None = None
    prompt: str = "none"
    trainable: str = "masam"
    gradient_checkpointing: bool = False
    half_turn: bool = False


DEFAULTS = Defaults()


def complete_arguments(arch_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The network's arguments as plans hold them, with defaults, and with numbers for those that the encoder decides.

    ``adapter_channels`` stays None where it differs between the stages of a hierarchical encoder.
    """
    arguments = {**asdict(DEFAULTS), **arch_kwargs}
    size = resolve_vit(arguments["vit"]) if arguments["encoder"] == DEFAULTS.encoder else VIT_PRESETS["vit_b"]
    arguments["decoder_doublings"] = resolve_doublings(arguments["decoder_doublings"], size.stride)
    is_open = arguments["adapter_channels"] is None and not arguments["encoder"].startswith(HIERA)
    if is_open and isinstance(size, ViTSize):
        arguments["adapter_channels"] = size.adapter_channels(size.embed_dim)
    return arguments
