"""Other networks under nnU-Net's training loop, to compare MA-SAM with.

What a network demands of a patch is a :class:`ForeignNetwork`; a recipe in ``trainers/`` adds sizes, optimizer and
schedule as numbers. Data, augmentation, loss and inference are nnU-Net's. All of them need MONAI.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_masam.baselines import NNFormer
from nnunetv2_masam.baselines.monai import monai_module
from nnunetv2_masam.plans_file import is_masam_configuration
from nnunetv2_masam.training.base import BaseTrainer
from nnunetv2_masam.training.cost_record import parameter_counts


@dataclass(frozen=True)
class ForeignNetwork:
    """Properties of a network that are needed to plan and train it.

    Attributes:
        class_name: full name; the class takes input and output channels, then keyword arguments.
        multiple: voxels that the sides of a 3D patch are multiples of; 2D takes the last two.
        from_patch: arguments that follow from the patch size.
        outputs: resolutions with logits, each half the one before; more than one is deep supervision.
        two_dimensional: whether it segments slices, too.
    """

    class_name: str
    multiple: tuple[int, int, int]
    from_patch: Callable[[list[int]], dict[str, Any]] = lambda patch: {}
    outputs: int = 1
    two_dimensional: bool = False

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.class_name.rpartition(".")[2]


SWIN_UNETR = ForeignNetwork(
    "monai.networks.nets.SwinUNETR", (32, 32, 32), lambda patch: {"spatial_dims": len(patch)}, two_dimensional=True
)
UXNET3D = ForeignNetwork("nnunetv2_masam.baselines.UXNet3D", (16, 16, 16))
NNFORMER = ForeignNetwork(
    "nnunetv2_masam.baselines.NNFormer", (16, 32, 32), lambda patch: {"crop_size": patch}, outputs=3
)


class ForeignTrainer(BaseTrainer):
    """A foreign network on nnU-Net's plans, re-planned in memory.

    Attributes:
        arch_kwargs: its arguments besides channels and what follows from the patch.
        largest_patch: patch size (D, H, W) in voxels where the images are as large; None takes the plans' patch.
        batch_size_3d: batch size of a 3D configuration; None, like 2D, takes the plans'.
        optimizer_class, optimizer_kwargs: the optimizer and its arguments.
        lr_exponent: of nnU-Net's polynomial decay over ``epochs``; 0 keeps the learning rate constant.
    """

    foreign: ForeignNetwork
    arch_kwargs: Mapping[str, Any] = {}
    largest_patch: tuple[int, int, int] | None = None
    batch_size_3d: int | None = 2
    optimizer_class: type[torch.optim.Optimizer] = torch.optim.AdamW
    optimizer_kwargs: Mapping[str, Any] = {"lr": 1e-4, "weight_decay": 0.01}
    lr_exponent = 0.9
    epochs = 1000

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net reads and repeats this signature
    ) -> None:
        plans = self.replan_for_network(plans, configuration)
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = self.foreign.outputs > 1
        self.initial_lr = self.optimizer_kwargs["lr"]
        self.num_epochs = self.epochs

    @classmethod
    def replan_for_network(cls, plans: dict[str, Any], configuration: str) -> dict[str, Any]:
        """``plans`` with ``configuration`` resolved and re-planned; see :func:`plan_foreign`."""
        plans = deepcopy(plans)
        resolved = PlansManager(plans).get_configuration(configuration).configuration
        if is_masam_configuration(resolved):
            raise ValueError(
                f"the plans {plans['plans_name']!r} are MA-SAM's; {cls.__name__} needs the patch of nnU-Net's. Train "
                "on nnUNetPlans or other plans of nnU-Net's (-p)"
            )
        resolved = plan_foreign(resolved, cls.foreign, cls.arch_kwargs, cls.largest_patch, cls.batch_size_3d)
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
        """The network by the plans, for training and prediction alike.

        Raises:
            ModuleNotFoundError: MONAI is not installed; the message has the command that installs it.
        """
        module, _, name = configuration_manager.network_arch_class_name.rpartition(".")
        network_class = getattr(monai_module(module, name), name)
        network: nn.Module = network_class(
            num_input_channels, num_output_channels, **configuration_manager.network_arch_init_kwargs
        )
        _supervise_deeply(network, enable_deep_supervision)
        return network

    def on_train_start(self) -> None:
        """Log the network's size, and that its memory is not planned."""
        super().on_train_start()
        total, _ = parameter_counts(self.bare_network)
        configuration = self.configuration_manager
        self.print_to_log_file(
            f"{self.foreign.name}: {total / 1e6:.1f} M parameters, patches of {configuration.patch_size} voxels, batch "
            f"size {configuration.batch_size}. GPU memory is not planned for this network: where it does not suffice, "
            "set batch_size_3d or largest_patch in a subclass"
        )

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """The recipe's optimizer on all parameters, with nnU-Net's schedule."""
        optimizer = self.optimizer_class(self.network.parameters(), **self.optimizer_kwargs)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs, self.lr_exponent)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Return the logits of all resolutions, or only the full one's."""
        _supervise_deeply(self.bare_network, enabled)

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """The resolutions of the network's outputs, not of the U-Net in the plans."""
        if not self.enable_deep_supervision:
            return None
        dimensions = len(self.configuration_manager.patch_size)
        return [[0.5**output] * dimensions for output in range(self.foreign.outputs)]

    def _build_loss(self) -> nn.Module:
        """nnU-Net's; all outputs count, each half as much as the one before. nnU-Net leaves the smallest out."""
        loss = super()._build_loss()
        if isinstance(loss, DeepSupervisionWrapper):
            weights = [0.5**output for output in range(self.foreign.outputs)]
            loss.weight_factors = tuple(weight / sum(weights) for weight in weights)
        return loss


def _supervise_deeply(network: nn.Module, enabled: bool) -> None:
    if isinstance(network, NNFormer):
        network.deep_supervision = enabled


def plan_foreign(
    configuration: Mapping[str, Any],
    network: ForeignNetwork,
    arch_kwargs: Mapping[str, Any],
    largest_patch: Sequence[int] | None,
    batch_size_3d: int | None,
) -> dict[str, Any]:
    """A configuration of nnU-Net's plans, re-planned for a foreign network.

    Args:
        configuration: one of a plans file's configurations, with inheritance resolved.
        largest_patch: patch size in voxels where the median image is as large; None takes the configuration's.

    Returns:
        A new configuration: ``patch_size``, ``architecture`` and, in 3D, ``batch_size`` replaced; all else as it was.

    Raises:
        NotImplementedError: a 2D configuration of a network that segments volumes only.
    """
    planned = deepcopy(dict(configuration))
    patch = list(configuration["patch_size"])
    if len(patch) == 2 and not network.two_dimensional:
        raise NotImplementedError(
            f"{network.name} segments volumes only, and this configuration is 2D: train 3d_fullres or 3d_lowres"
        )
    if largest_patch is not None:
        median = configuration["median_image_size_in_voxels"]
        patch = [min(largest, math.ceil(size)) for largest, size in zip(largest_patch, median, strict=True)]
    patch = fitting_patch(patch, network.multiple)
    if len(patch) == 3 and batch_size_3d is not None:
        planned["batch_size"] = batch_size_3d
    planned["patch_size"] = patch
    planned["architecture"] = {
        "network_class_name": network.class_name,
        "arch_kwargs": {**network.from_patch(patch), **deepcopy(dict(arch_kwargs))},
        "_kw_requires_import": [],
    }
    return planned


def fitting_patch(patch: Sequence[int], multiple: Sequence[int]) -> list[int]:
    """``patch`` (voxels) with every side rounded up to its multiple, and more than one multiple in all.

    At the bottom of the network a patch of one multiple is a single voxel, which cannot be normalised.
    """
    multiple = multiple[-len(patch) :]
    sides = [math.ceil(side / step) * step for side, step in zip(patch, multiple, strict=True)]
    if sides == list(multiple):
        sides[-1] *= 2
    return sides
