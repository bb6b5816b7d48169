"""The rules by which a recipe is planned, and the name of plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnunetv2_masam.architecture import DEFAULTS

PLANS_NAME = "nnUNetMASAMPlans"
MIN_SLICES = 4  # of a 3D patch: nnU-Net's blurring augmentation cannot pad fewer


@dataclass(frozen=True)
class PlanningRules:
    """The rules by which a recipe is planned.

    Attributes:
        encoder: ``sam``, or ``timm:`` and a model of timm.
        vit: preset or sizes of SAM's image encoder, a plain ViT or a TinyViT.
        slices: D, slices of a 3D patch, at least 4; nnU-Net pads images that have fewer.
        batch_size: effective batch size.
        vram_gb: memory target of one GPU in GB, where the user gives none. nnU-Net's own default is 8.
        max_image_side: longest side of the network's input, pixels.
        max_upsampling: maximum in-plane upsampling factor.
        min_upsampling: minimum in-plane upsampling factor; larger images are cut into patches.
        min_image_side: the longest side of the network's input is not made shorter than this to save memory, pixels.
        image_size: fixed network input; None follows the patch.
        predict_in_stacks: prediction takes tiles of as many slices as training, as the authors do.
        arch_kwargs: further arguments of the network.
    """

    encoder: str = DEFAULTS.encoder
    vit: str | Mapping[str, Any] = DEFAULTS.vit
    slices: int = 5
    batch_size: int = 24
    vram_gb: float = 8.0
    max_image_side: int = 512
    max_upsampling: float = 4.0
    min_upsampling: float = 0.4
    min_image_side: int = 224
    image_size: tuple[int, int] | None = None
    predict_in_stacks: bool = False
    arch_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.slices < MIN_SLICES:
            raise ValueError(f"slices: got {self.slices}, expected at least {MIN_SLICES}")
        if not 0 < self.min_upsampling <= self.max_upsampling:
            raise ValueError(
                f"min_upsampling, max_upsampling: got {self.min_upsampling} and {self.max_upsampling}, expected two "
                "positive numbers of which the second is at least the first"
            )

    @property
    def max_patch_side(self) -> int:
        """Longest in-plane side of a patch, voxels."""
        longest = self.max_image_side if self.image_size is None else min(self.image_size)
        return round(longest / self.min_upsampling)
