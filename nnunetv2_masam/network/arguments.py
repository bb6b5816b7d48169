"""Defaults and checks of the network's arguments, without torch, so that planning and commands import it quickly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunetv2_masam.network.presets import PATCH_SIZE

PROMPTS = ("none", "box")
TRAINABLE = ("masam", "decoder", "all")


@dataclass(frozen=True)
class Defaults:
    """Defaults of :class:`~nnunetv2_masam.network.masam.MASAM`, which describes the arguments. Plans may omit them."""

    encoder: str = "sam"
    vit: str = "vit_b"
    image_size: tuple[int, int] = (512, 512)
    fact_rank: int = 32
    fact_scale: float = 1.0
    fact_dropout: float = 0.1
    adapter_channels: int = 384
    adapter_kernel: int = 3
    adapter_dilation: int = 1
    lora_rank: int = 0
    decoder_doublings: int = 4
    prompt: str = "none"
    trainable: str = "masam"
    gradient_checkpointing: bool = False
    half_turn: bool = False


DEFAULTS = Defaults()


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}")


def check_numbers(at_least: int, **numbers: int) -> None:
    """Raise a ValueError if one of ``numbers`` is smaller than ``at_least``."""
    for name, value in numbers.items():
        if value < at_least:
            raise ValueError(f"{name}: got {value}, expected {at_least} or more")


def check_odd(name: str, value: int) -> None:
    """Raise a ValueError unless ``value`` is odd and positive."""
    if value < 1 or value % 2 == 0:
        raise ValueError(f"{name}: got {value}, expected an odd number, so that a slice has as many on either side")


def check_image_size(image_size: Sequence[int]) -> tuple[int, int]:
    """(S, S'), pixels. Raises a ValueError unless these are two multiples of a token's side."""
    size = tuple(int(side) for side in image_size)
    if len(size) != 2 or any(side < PATCH_SIZE or side % PATCH_SIZE for side in size):
        raise ValueError(f"image_size: got {tuple(image_size)}, expected two multiples of {PATCH_SIZE}, a token's side")
    return size[0], size[1]
