"""The trainer under every MA-SAM recipe in ``trainers/``.

A recipe sets class attributes. It defines methods only for what no other recipe does.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from nnunetv2_masam.files import env_flag
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.autocast import has_bf16
from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.base import BaseTrainer
from nnunetv2_masam.training.checkpoints import SlimSaving
from nnunetv2_masam.training.cost_record import parameter_counts
from nnunetv2_masam.training.plans import plans_for_training, training_configuration
from nnunetv2_masam.training.ranks import global_rank
from nnunetv2_masam.training.schedule import WarmupPolySchedule
from nnunetv2_masam.weights import identify, load_sam_checkpoint, resolve_checkpoint
from nnunetv2_masam.weights.provenance import KEY, stored_provenance
from nnunetv2_masam.weights.slim import SlimCompletion, slim_checkpoints_wanted
from nnunetv2_masam.weights.timm_weights import load_timm_checkpoint


class MASAMTrainer(BaseTrainer):
    """MA-SAM under nnU-Net's training loop.

    Attributes:
        rules: what the recipe asks of its plans; plans that are not MA-SAM's are re-planned in memory by them.
        needs_pretrained_weights: training starts from the encoder's published weights, and does not start without.
        pretrained_decoder: the mask decoder starts from those weights too, and not at random.
        base_lr, weight_decay_masam, warmup_steps, lr_exponent: AdamW and its schedule.
        epochs: nnU-Net epochs of ``steps_per_epoch`` optimiser steps.
        schedule_epochs: epochs after which the learning rate would be zero; None is ``epochs``.
        rotation_degrees: augmentation rotates by up to this; None leaves it to nnU-Net.
        supports_regions: the recipe's loss handles overlapping regions.
        mirror_axes: axes that augmentation and inference mirror; None are both in plane, which the authors' are too.
    """

    rules = PlanningRules()
    needs_pretrained_weights = True
    pretrained_decoder = True
    base_lr = 8e-4
    weight_decay_masam = 0.1
    warmup_steps = 250
    lr_exponent = 7.0
    epochs = 160
    schedule_epochs: int | None = None
    steps_per_epoch = 250
    validation_steps_per_epoch = 50
    loss_under_autocast = False  # the network returns float32
    rotation_degrees: float | None = None
    mirror_axes: tuple[int, ...] | None = None
    supports_regions = True

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net reads and repeats this signature
    ) -> None:
        plans = self.planned(plans, configuration, dataset_json)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.label_manager.has_regions and not self.supports_regions:
            raise NotImplementedError(
                f"{type(self).__name__}: its loss is on the softmax over exclusive labels, the dataset has regions; "
                "take a trainer with nnU-Net's loss, such as nnUNetTrainerMASAM_H"
            )
        self.prediction_configuration: ConfigurationManager = self.plans_manager.get_configuration(configuration)
        self.configuration_manager = training_configuration(self.prediction_configuration)
        self.enable_deep_supervision = False
        self.initial_lr = self.base_lr
        self.weight_decay = self.weight_decay_masam
        self.num_epochs = self.epochs
        self.num_iterations_per_epoch = self.steps_per_epoch
        self.num_val_iterations_per_epoch = self.validation_steps_per_epoch
        self.steps_taken = 0
        self.slim_saving: SlimSaving | None = None
        if has_bf16(self.device):
            self.grad_scaler = None  # the network computes in bf16, which needs none

    @classmethod
    def planned(cls, plans: dict, configuration: str, dataset_json: dict) -> dict:
        """``plans`` as this recipe trains them; see :func:`~nnunetv2_masam.training.plans.plans_for_training`."""
        return plans_for_training(plans, configuration, dataset_json, cls.rules, cls.__name__)

    # ---- network, weights, optimiser

    @property
    def masam(self) -> MASAM:
        """The network without what nnU-Net wraps around it."""
        return cast(MASAM, self.bare_network)

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """nnU-Net's, for training and prediction alike, and a network that completes slim checkpoints on loading.

        ``MASAM_CPU_BF16=1`` in the environment makes it predict in bfloat16 on CPUs; ``MASAM_KERNELS`` is its
        ``kernels``: ``auto``, ``plain`` or ``fast``.
        """
        network = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        network.bf16_on_cpu = env_flag("MASAM_CPU_BF16")
        network.kernels = os.environ.get("MASAM_KERNELS", "auto")
        network.register_load_state_dict_pre_hook(SlimCompletion())
        return network

    def initialize(self) -> None:
        """Build everything; SAM's weights are loaded later, by :meth:`on_train_start`, if training starts anew."""
        super().initialize()
        self.masam.register_load_state_dict_pre_hook(self._report_left_out)

    def _report_left_out(self, network: nn.Module, state_dict: dict[str, Tensor], *_: Any) -> None:
        """Say which layers ``-pretrained_weights`` leaves as they are: nnU-Net passes the network's own for those."""
        own = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
        left = [name for name, tensor in state_dict.items() if own.get(name) == tensor.data_ptr()]
        if left and all(".seg_layers." in name for name in left):
            self.print_to_log_file(
                f"Transferred {len(own) - len(left)} tensors; the {len(left)} that depend on the classes "
                f"(mask_decoder.seg_layers: mask tokens and hypernetworks) start anew"
            )

    def on_train_start(self) -> None:
        """Load pretrained weights, unless a checkpoint was loaded, then start as every trainer does."""
        self.lock_fold()
        if not self.was_initialized:
            # first what can fail for want of a file, then what takes time
            checkpoint = self._pretrained_checkpoint() if self.needs_pretrained_weights else None
            self.initialize()
            if checkpoint is not None:
                self._load_pretrained(checkpoint)
        elif provenance := stored_provenance({"init_args": self.my_init_kwargs}):
            self.print_to_log_file(f"continued; the training started from\n{provenance}")
        self._prepare_slim_saving()
        total, trained = parameter_counts(self.bare_network)
        self.print_to_log_file(
            f"{type(self).__name__}: {total / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained; "
            f"batch size {self.batch_size} in micro-batches of {self.micro_batch_size}; kernels: {self.masam.kernels}"
        )
        super().on_train_start()

    def _pretrained_checkpoint(self) -> Path:
        """The file that training starts from."""
        return resolve_checkpoint(str(self.rules.vit) if self.rules.encoder == "sam" else self.rules.encoder)

    def _load_pretrained(self, checkpoint: Path) -> None:
        """Load pretrained weights, and keep what they are in the log and in all checkpoints."""
        provenance = identify(checkpoint)
        if self.rules.encoder == "sam":
            report = load_sam_checkpoint(self.masam, checkpoint, decoder=self.pretrained_decoder)
        else:
            report = load_timm_checkpoint(self.masam, checkpoint)
        self.my_init_kwargs[KEY] = provenance.as_dict()
        self.print_to_log_file(f"pretrained weights from {checkpoint}\n{report}\n{provenance}")

    def _prepare_slim_saving(self) -> None:
        """Find the base of slim checkpoints before training rather than after its first epochs."""
        if not slim_checkpoints_wanted() or global_rank() != 0:
            return
        if not self.needs_pretrained_weights or self.rules.encoder != "sam":
            self.print_to_log_file("MASAM_SLIM_CHECKPOINTS: no SAM weights in this recipe, checkpoints are saved whole")
            return
        self.slim_saving = SlimSaving(self.masam, self._pretrained_checkpoint())
        self.print_to_log_file(str(self.slim_saving))

    def save_checkpoint(self, filename: str) -> None:
        """Save as every trainer does, and slim if requested."""
        with nullcontext() if self.slim_saving is None else self.slim_saving.applied(self.masam):
            super().save_checkpoint(filename)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, WarmupPolySchedule]:
        """AdamW on what is trained, and the warm-up and decay of its rate."""
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=self.initial_lr, weight_decay=self.weight_decay)
        schedule = WarmupPolySchedule(
            optimizer,
            self.initial_lr,
            warmup_steps=self.warmup_steps,
            total_steps=(self.schedule_epochs or self.num_epochs) * self.num_iterations_per_epoch,
            exponent=self.lr_exponent,
            steps_per_epoch=self.num_iterations_per_epoch,
        )
        return optimizer, schedule

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple:
        """Take nnU-Net's choice, except for what the recipe sets."""
        rotation, dummy_2d, initial_patch_size, mirror_axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if self.rotation_degrees is not None:
            angle = np.deg2rad(self.rotation_degrees)
            rotation = (-angle, angle)
        dimensions = len(self.configuration_manager.patch_size)
        mirror_axes = (dimensions - 2, dimensions - 1) if self.mirror_axes is None else self.mirror_axes
        self.inference_allowed_mirroring_axes = mirror_axes or None  # nnU-Net's inference takes None, not ()
        return rotation, dummy_2d, initial_patch_size, mirror_axes

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Do nothing, because the decoder has one output."""

    # ---- steps

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.steps_taken = self.current_epoch * self.num_iterations_per_epoch

    def _before_step(self) -> None:
        self.lr_scheduler.set_step(self.steps_taken)
        self.steps_taken += 1

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate as nnU-Net does, with the tiles of prediction."""
        configuration, self.configuration_manager = self.configuration_manager, self.prediction_configuration
        try:
            super().perform_actual_validation(save_probabilities)
        finally:
            self.configuration_manager = configuration
