"""SwinUNETR under nnU-Net's training loop: the transformer to hold MA-SAM against.

The network is MONAI's (Hatamizadeh et al., 2022), an optional dependency that is imported when a network is built. It
halves every side of a patch five times, so a baseline's patch is rounded up to multiples of 32 voxels. Loss,
augmentation, iterations and inference are nnU-Net's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_masam.planning import is_masam_configuration

NETWORK_CLASS = "monai.networks.nets.SwinUNETR"
PATCH_MULTIPLE = 32  # voxels


class SwinUNETRTrainer(nnUNetTrainer):
    """SwinUNETR on a baseline's plans, re-planned in memory.

    Attributes:
        arch_kwargs: arguments of MONAI's network besides channels and dimensions.
        batch_size_3d: samples an iteration of a 3D configuration; None, like 2D, takes the plans'.
        base_lr, weight_decay_adamw, eps: of AdamW; the rate decays by nnU-Net's rule.
    """

    arch_kwargs: Mapping[str, Any] = {"feature_size": 48}
    batch_size_3d: int | None = 2
    base_lr = 8e-4
    weight_decay_adamw = 0.01
    eps = 1e-5

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net reads and repeats this signature
    ) -> None:
        plans = self.planned(plans, configuration)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False
        self.initial_lr = self.base_lr
        self.weight_decay = self.weight_decay_adamw

    @classmethod
    def planned(cls, plans: dict[str, Any], configuration: str) -> dict[str, Any]:
        """``plans`` with ``configuration`` resolved and re-planned; see :func:`plan_swin_unetr`."""
        plans = deepcopy(plans)
        resolved = PlansManager(plans).get_configuration(configuration).configuration
        if is_masam_configuration(resolved):
            raise ValueError(
                f"the plans {plans['plans_name']!r} are MA-SAM's; {cls.__name__} needs a baseline's patch. Train on "
                "nnUNetPlans or another plan of nnU-Net's (-p)"
            )
        resolved = plan_swin_unetr(resolved, cls.arch_kwargs, cls.batch_size_3d)
        resolved.pop("inherits_from", None)
        plans["configurations"][configuration] = resolved
        return plans

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        """MONAI's network by the plans, for training and prediction alike.

        Raises:
            ModuleNotFoundError: MONAI is not installed; the message names the line that installs it.
        """
        try:
            from monai.networks.nets import SwinUNETR
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"SwinUNETR is MONAI's, which cannot be imported ({error}): "
                f'pip install "monai>=1.5" torch=={torch.__version__} (naming torch keeps pip from replacing it)'
            ) from error
        arch_kwargs = configuration_manager.network_arch_init_kwargs
        return SwinUNETR(num_input_channels, num_output_channels, **arch_kwargs)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """AdamW, with nnU-Net's decay of the rate."""
        parameters = self.network.parameters()
        optimizer = torch.optim.AdamW(parameters, lr=self.initial_lr, weight_decay=self.weight_decay, eps=self.eps)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Nothing: the network has one output."""

    def _do_i_compile(self) -> bool:
        """Compile only on request (``nnUNet_compile=t``), as MA-SAM's trainers do."""
        return "nnUNet_compile" in os.environ and super()._do_i_compile()


def plan_swin_unetr(
    configuration: Mapping[str, Any], arch_kwargs: Mapping[str, Any], batch_size_3d: int | None
) -> dict[str, Any]:
    """A baseline's configuration, re-planned for SwinUNETR.

    Args:
        configuration: one of a plans file's configurations, with inheritance resolved.
        arch_kwargs: arguments of the network besides channels and dimensions.
        batch_size_3d: samples an iteration in 3D; None keeps the plans'.

    Returns:
        A new configuration: ``patch_size``, ``architecture`` and, in 3D, ``batch_size`` replaced; all else as it was.
    """
    planned = deepcopy(dict(configuration))
    patch = fitting_patch(configuration["patch_size"])
    if len(patch) == 3 and batch_size_3d is not None:
        planned["batch_size"] = batch_size_3d
    planned["patch_size"] = patch
    planned["architecture"] = {
        "network_class_name": NETWORK_CLASS,
        "arch_kwargs": {"spatial_dims": len(patch), **deepcopy(dict(arch_kwargs))},
        "_kw_requires_import": [],
    }
    return planned


def fitting_patch(patch: Sequence[int]) -> list[int]:
    """``patch`` (voxels) with every side rounded up to a multiple of 32, of more than one multiple in all.

    At the bottom of the network a patch of one multiple is a single voxel, which cannot be normalised.
    """
    sides = [math.ceil(side / PATCH_MULTIPLE) * PATCH_MULTIPLE for side in patch]
    if all(side == PATCH_MULTIPLE for side in sides):
        sides[-1] *= 2
    return sides
