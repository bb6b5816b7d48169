"""Which ViT a state dict belongs to, read off the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nnunetv2_masam.architecture import PATCH_SIZE, VIT_PRESETS

_BLOCKS = "image_encoder.blocks."
_BY_WIDTH = ("vit_b", "vit_l", "vit_h")  # recognised without relative positions too


@dataclass(frozen=True)
class ViTGeometry:
    """What the tensor shapes of a SAM image encoder tell about it.

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


def recognise_vit(state_dict: Mapping[str, Tensor]) -> ViTGeometry:
    """Recognise the image encoder of a state dict with SAM's official key names.

    Raises:
        ValueError: the patch embedding or the blocks are missing, the blocks are not numbered 0…n−1, or a tensor that
            tells the sizes has another shape than SAM's.
    """
    indices = _block_indices(state_dict)
    patch_embed = state_dict.get("image_encoder.patch_embed.proj.weight")
    if patch_embed is None or not indices or indices != list(range(len(indices))):
        raise ValueError(
            f"image encoder not recognised: got {'no' if patch_embed is None else 'a'} patch embedding "
            f"and blocks {indices or 'none'}; expected image_encoder.patch_embed.proj.weight and "
            "image_encoder.blocks.0… without gaps. "
            "Use a complete SAM checkpoint."
        )
    _check_shapes(state_dict)
    embed_dim, depth, patch = patch_embed.shape[0], len(indices), patch_embed.shape[-1]
    pos_embed = state_dict.get("image_encoder.pos_embed")  # (1, S/16, S/16, E)
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


def _block_indices(state_dict: Mapping[str, Tensor]) -> list[int]:
    numbers = (key[len(_BLOCKS) :].split(".")[0] for key in state_dict if key.startswith(_BLOCKS))
    return sorted({int(number) for number in numbers if number.isascii() and number.isdecimal() and len(number) < 5})


def _check_shapes(state_dict: Mapping[str, Tensor]) -> None:
    """Compare the tensors that give the sizes with SAM's numbers of dimensions."""
    patch_embed = state_dict["image_encoder.patch_embed.proj.weight"]
    if patch_embed.ndim == 5:
        raise ValueError(
            f"got a 3D ViT (its patch embedding is {tuple(patch_embed.shape)}, as in SAM-Med3D); expected SAM's 2D "
            "ViT, with a patch embedding (E, 3, 16, 16). A 3D ViT is another network: use SAM, or a 2D SAM fine-tuned "
            "on medical images such as MedSAM."
        )
    expected = {"image_encoder.patch_embed.proj.weight": 4, "image_encoder.pos_embed": 4}
    expected |= {key: 2 for key in state_dict if key.startswith(_BLOCKS) and ".attn.rel_pos_" in key}
    for key, ndim in expected.items():
        tensor = state_dict.get(key)
        if tensor is not None and (tensor.ndim != ndim or tensor.numel() == 0):
            raise ValueError(
                f"image encoder not recognised: got {key} of shape {tuple(tensor.shape)}; expected {ndim} dimensions, "
                "none of them 0. Use a complete SAM checkpoint."
            )
    if tuple(patch_embed.shape[-2:]) != (PATCH_SIZE, PATCH_SIZE):
        raise ValueError(
            f"got a ViT with patches of {tuple(patch_embed.shape[-2:])} pixels; expected {PATCH_SIZE} x {PATCH_SIZE}. "
            "Use SAM, or a SAM fine-tuned from it."
        )
