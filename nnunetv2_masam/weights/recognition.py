"""Recognise the image encoder that a state dict belongs to by the shapes of its tensors.

A network of ours is recognised like a file: its image encoder has the names of the published one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from nnunetv2_masam.architecture import PATCH_SIZE, TINY_VIT_PRESETS, VIT_PRESETS

_ENCODER = "image_encoder."
_BLOCKS = _ENCODER + "blocks."
_STAGES = _ENCODER + "layers."
VIT_PATCHES = _ENCODER + "patch_embed.proj.weight"
TINY_VIT_PATCHES = _ENCODER + "patch_embed.seq.0.c.weight"
_BY_WIDTH = ("vit_b", "vit_l", "vit_h")  # recognised without relative positions too
_COMPLETE = "Use a complete checkpoint."
_MERGED = 4  # tokens of the first stage along a token of the last: of three mergings, two have stride 2


@dataclass(frozen=True)
class ViTGeometry:
    """Sizes of a SAM image encoder, read off its tensors' shapes.

    Attributes:
        preset: name in ``VIT_PRESETS``, or None for any other geometry.
        num_heads: from the relative position tables; None where there are none.
        global_attn_indexes: blocks whose tables span the whole token grid rather than a window.
        image_size: (height, width) of the input in pixels, from the position table; None without one.
    """

    embed_dim: int
    depth: int
    num_heads: int | None
    global_attn_indexes: tuple[int, ...]
    image_size: tuple[int, int] | None
    preset: str | None

    def __str__(self) -> str:
        return self.preset or f"custom embed_dim={self.embed_dim}, depth={self.depth}"

    @property
    def kind(self) -> str:
        """What it is, in a sentence."""
        heads = "no relative positions" if self.num_heads is None else f"{self.num_heads} heads"
        name = f" ({self.preset})" if self.preset else ""
        return f"a ViT of width {self.embed_dim} with {self.depth} blocks and {heads}{name}"


@dataclass(frozen=True)
class TinyViTGeometry:
    """Sizes of a TinyViT (LiteMedSAM, MobileSAM), read off its tensors' shapes, for each of its stages.

    Attributes:
        widths: channels; the first stage has convolutions only.
        depths: numbers of blocks.
        num_heads, windows: of the stages with attention; windows in tokens along a side.
        patch_stride: pixels along the side of a token of the first stage.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    windows: tuple[int, ...]
    patch_stride: int

    def __str__(self) -> str:
        return self.preset or f"custom widths={self.widths}, depths={self.depths}, stride={self.stride}"

    @property
    def preset(self) -> str | None:
        """Name in ``TINY_VIT_PRESETS``, or None for any other geometry."""
        own = (self.widths, self.depths, self.num_heads, self.windows, self.patch_stride)
        sizes = {
            (size.widths, size.depths, size.num_heads, size.windows, size.patch_stride): name
            for name, size in TINY_VIT_PRESETS.items()
        }
        return sizes.get(own)

    @property
    def stride(self) -> int:
        """Pixels along the side of a token of the last stage."""
        return self.patch_stride * _MERGED

    @property
    def kind(self) -> str:
        """What it is, in a sentence."""
        name = f" ({self.preset})" if self.preset else ""
        sizes = f"widths {_joined(self.widths)} and {_joined(self.depths)} blocks"
        return f"a TinyViT of stride {self.stride} with {sizes}{name}"


Geometry = ViTGeometry | TinyViTGeometry


def has_encoder(names: Iterable[str]) -> bool:
    """Whether SAM's or a TinyViT's patch embedding is among the names."""
    return not {VIT_PATCHES, TINY_VIT_PATCHES}.isdisjoint(names)


def recognise_encoder(state_dict: Mapping[str, Tensor]) -> Geometry:
    """Recognise the image encoder of a state dict with official key names.

    Raises:
        ValueError: the patch embedding or the blocks are missing, the blocks are not numbered 0…n−1, or a tensor that
            tells the sizes has another shape than the published encoders'.
    """
    return _recognise_tiny_vit(state_dict) if TINY_VIT_PATCHES in state_dict else recognise_vit(state_dict)


def fits(found: Geometry, wanted: Geometry) -> bool:
    """Whether weights of one encoder can be loaded into another, position tables and channels aside."""
    if isinstance(found, ViTGeometry) and isinstance(wanted, ViTGeometry):
        sizes = (wanted.embed_dim, wanted.depth, wanted.num_heads)
        return (found.embed_dim, found.depth, found.num_heads) == sizes
    return found == wanted


def recognise_vit(state_dict: Mapping[str, Tensor]) -> ViTGeometry:
    """Recognise SAM's ViT; see :func:`recognise_encoder`."""
    indices = _numbers(state_dict, _BLOCKS)
    patch_embed = state_dict.get(VIT_PATCHES)
    if patch_embed is None or not indices or indices != list(range(len(indices))):
        raise ValueError(
            f"image encoder not recognised: got {'no' if patch_embed is None else 'a'} patch embedding "
            f"and blocks {indices or 'none'}; expected {VIT_PATCHES} and {_BLOCKS}0… without gaps. {_COMPLETE}"
        )
    _check_shapes(state_dict, patch_embed)
    embed_dim, depth, patch = patch_embed.shape[0], len(indices), patch_embed.shape[-1]
    pos_embed = state_dict.get(_ENCODER + "pos_embed")  # (1, S/16, S/16, E)
    grid = None if pos_embed is None else (pos_embed.shape[1], pos_embed.shape[2])
    tables = [state_dict.get(f"{_BLOCKS}{index}.attn.rel_pos_h") for index in indices]  # (2·extent − 1, E/heads)
    num_heads = None if tables[0] is None else embed_dim // tables[0].shape[1]
    fitting = (
        name
        for name, size in VIT_PRESETS.items()
        if (size.embed_dim, size.depth) == (embed_dim, depth)
        and (num_heads == size.num_heads and size.rel_pos if num_heads else not size.rel_pos or name in _BY_WIDTH)
    )
    return ViTGeometry(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        global_attn_indexes=tuple(
            index
            for index, table in zip(indices, tables, strict=True)
            if grid is not None and table is not None and table.shape[0] == 2 * grid[0] - 1
        ),
        image_size=None if grid is None else (grid[0] * patch, grid[1] * patch),
        preset=next(fitting, None),
    )


def _recognise_tiny_vit(state_dict: Mapping[str, Tensor]) -> TinyViTGeometry:
    blocks = [_numbers(state_dict, f"{_STAGES}{stage}.blocks.") for stage in _numbers(state_dict, _STAGES)]
    first = [f"{_STAGES}{stage}.blocks.0." for stage in range(len(blocks))]
    telling = [TINY_VIT_PATCHES, first[0] + "conv3.c.weight"] if first else [_STAGES + "0.blocks.0.conv3.c.weight"]
    telling += [f"{block}attn.{name}" for block in first[1:] for name in ("proj.weight", "attention_biases")]
    missing = [name for name in telling if name not in state_dict]
    gaps = [indices for indices in blocks if not indices or indices != list(range(len(indices)))]
    if missing or gaps:
        what = f"no {missing[0]}" if missing else f"blocks {gaps[0] or 'none'} in a stage"
        raise ValueError(f"image encoder not recognised: got a TinyViT with {what}; expected all of it. {_COMPLETE}")
    patch_embed, convolution, *attention = (state_dict[name] for name in telling)
    shapes = {(tensor.ndim, 0 in tensor.shape) for tensor in attention}
    if patch_embed.ndim != 4 or convolution.ndim != 4 or not shapes <= {(2, False)}:
        raise ValueError(f"image encoder not recognised: a TinyViT whose tensors have other shapes. {_COMPLETE}")
    projections, biases = attention[::2], attention[1::2]  # (E, E); (heads, window²)
    return TinyViTGeometry(
        widths=(convolution.shape[0], *(tensor.shape[0] for tensor in projections)),
        depths=tuple(map(len, blocks)),
        num_heads=tuple(tensor.shape[0] for tensor in biases),
        windows=tuple(math.isqrt(tensor.shape[1]) for tensor in biases),
        patch_stride=1 if patch_embed.shape[-1] == 1 else 4,  # two 1 x 1 convolutions, or two 3 x 3 ones of stride 2
    )


def _numbers(state_dict: Mapping[str, Tensor], prefix: str) -> list[int]:
    """The numbers that follow a prefix in the names."""
    numbers = (key[len(prefix) :].split(".")[0] for key in state_dict if key.startswith(prefix))
    return sorted({int(number) for number in numbers if number.isascii() and number.isdecimal() and len(number) < 5})


def _joined(numbers: Iterable[int]) -> str:
    return "/".join(map(str, numbers))


def _check_shapes(state_dict: Mapping[str, Tensor], patch_embed: Tensor) -> None:
    """Compare the tensors that give the sizes with SAM's numbers of dimensions."""
    if patch_embed.ndim == 5:
        raise ValueError(
            f"got a 3D ViT (its patch embedding is {tuple(patch_embed.shape)}, as in SAM-Med3D); expected SAM's 2D "
            "ViT, with a patch embedding (E, 3, 16, 16). A 3D ViT is another network: use SAM, or a 2D SAM fine-tuned "
            "on medical images such as MedSAM."
        )
    expected = {VIT_PATCHES: 4, _ENCODER + "pos_embed": 4}
    expected |= {key: 2 for key in state_dict if key.startswith(_BLOCKS) and ".attn.rel_pos_" in key}
    for key, ndim in expected.items():
        tensor = state_dict.get(key)
        if tensor is not None and (tensor.ndim != ndim or tensor.numel() == 0):
            raise ValueError(
                f"image encoder not recognised: got {key} of shape {tuple(tensor.shape)}; expected {ndim} dimensions, "
                f"none of them 0. {_COMPLETE}"
            )
    if tuple(patch_embed.shape[-2:]) != (PATCH_SIZE, PATCH_SIZE):
        raise ValueError(
            f"got a ViT with patches of {tuple(patch_embed.shape[-2:])} pixels; expected {PATCH_SIZE} x {PATCH_SIZE}. "
            "Use SAM, or a SAM fine-tuned from it."
        )
