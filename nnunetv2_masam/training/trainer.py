"""The machinery under every trainer in ``trainers/``.

What a recipe sets are class attributes; a recipe defines no methods unless it does something that no other does.

An *iteration* of nnU-Net is one optimiser step here, on the plans' ``batch_size`` samples. They go through the network
``micro_batch_size`` at a time and their gradients add up (gradient accumulation), so that the samples a step do not
depend on the GPU. An *epoch* is nnU-Net's: ``num_iterations_per_epoch`` steps, not one pass over the data.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_masam.files import atomic_file
from nnunetv2_masam.network import MASAM
from nnunetv2_masam.network.autocast import has_bf16
from nnunetv2_masam.planning import PlanningRules
from nnunetv2_masam.training.checkpoints import SlimSaving
from nnunetv2_masam.training.memory import peak_memory
from nnunetv2_masam.training.plans import plans_for_training, training_configuration
from nnunetv2_masam.training.schedule import WarmupPolySchedule
from nnunetv2_masam.weights import load_sam_checkpoint, resolve_sam_checkpoint
from nnunetv2_masam.weights.slim import SlimCompletion, slim_checkpoints_wanted


class MASAMTrainer(nnUNetTrainer):
    """MA-SAM under nnU-Net's training loop.

    Attributes:
        rules: what the recipe asks of its plans; plans that are not MA-SAM's are re-planned in memory by them.
        needs_sam_weights: training starts from SAM's weights, and does not start without.
        base_lr, weight_decay_masam, warmup_steps, lr_exponent: AdamW and its schedule.
        epochs: nnU-Net epochs of ``steps_per_epoch`` optimiser steps.
        schedule_epochs: epochs after which the learning rate would be zero; None is ``epochs``.
        gradient_clip: largest norm of the gradient; None does not clip.
        rotation_degrees: augmentation rotates by up to this; None leaves it to nnU-Net.
        supports_regions: the recipe's loss handles overlapping regions.
        mirror_axes: axes that augmentation and inference mirror; None are both in plane, which the authors' are too.
    """

    rules = PlanningRules()
    needs_sam_weights = True
    base_lr = 8e-4
    weight_decay_masam = 0.1
    warmup_steps = 250
    lr_exponent = 7.0
    epochs = 160
    schedule_epochs: int | None = None
    steps_per_epoch = 250
    validation_steps_per_epoch = 50
    gradient_clip: float | None = 12.0
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
                f"{type(self).__name__}: its loss is on the softmax over exclusive labels, the data set has regions; "
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
        if self.device.type == "cpu":
            torch.set_flush_denormal(True)  # gradients of a well-fitted background are denormal, and slow
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
        network = self.network
        if isinstance(network, DistributedDataParallel):
            network = network.module
        if isinstance(network, OptimizedModule):
            network = network._orig_mod
        return network

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
        network.bf16_on_cpu = os.environ.get("MASAM_CPU_BF16", "").lower() in ("1", "t", "true")
        network.kernels = os.environ.get("MASAM_KERNELS", "auto")
        network.register_load_state_dict_pre_hook(SlimCompletion())
        return network

    def _do_i_compile(self) -> bool:
        """Compile only on request (``nnUNet_compile=t``): what it gains here on which GPU is not measured."""
        return "nnUNet_compile" in os.environ and super()._do_i_compile()

    def initialize(self) -> None:
        """Build everything; SAM's weights are loaded later, by :meth:`on_train_start`, if training starts anew."""
        super().initialize()
        self.masam.register_load_state_dict_pre_hook(self._report_left_out)

    def _report_left_out(self, network: nn.Module, state_dict: dict[str, Tensor], *_: Any) -> None:
        """Say which layers ``-pretrained_weights`` leaves as they are: nnU-Net passes the network's own for those."""
        own = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
        left = [name for name, tensor in state_dict.items() if own.get(name) == tensor.data_ptr()]
        if left and len(left) < len(own):
            self.print_to_log_file(
                f"Transferred {len(own) - len(left)} tensors; the {len(left)} that depend on the classes "
                f"(mask_decoder.seg_layers: mask tokens and hypernetworks) start anew"
            )

    def on_train_start(self) -> None:
        """Load SAM's weights into a network that nothing else was loaded into, then as nnU-Net."""
        if not self.was_initialized:
            # first what can fail for want of a file, then what takes time
            checkpoint = resolve_sam_checkpoint(str(self.rules.vit)) if self.needs_sam_weights else None
            self.initialize()
            if checkpoint is not None:
                report = load_sam_checkpoint(self.masam, checkpoint)
                self.print_to_log_file(f"SAM weights from {checkpoint}\n{report}")
        self._prepare_slim_saving()
        total, trained = self._count_parameters()
        self.print_to_log_file(
            f"{type(self).__name__}: {total / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained; "
            f"{self.batch_size} samples a step, {self.micro_batch_size} at once; kernels: {self.masam.kernels}"
        )
        super().on_train_start()

    def on_train_end(self) -> None:
        """nnU-Net's, and a note of the cost that ``nnUNetv2_masam compare`` reads."""
        super().on_train_end()
        if self.local_rank == 0:
            total, trained = self._count_parameters()
            cost = {"parameters": total, "trained_parameters": trained, "peak_memory_bytes": peak_memory(self.device)}
            (Path(self.output_folder) / "masam_cost.json").write_text(json.dumps(cost) + "\n")

    def _count_parameters(self) -> tuple[int, int]:
        """All parameters, and those that are trained."""
        parameters = list(self.masam.parameters())
        return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)

    def _prepare_slim_saving(self) -> None:
        """Find the base of slim checkpoints before training rather than after its first epochs."""
        if not slim_checkpoints_wanted() or self.local_rank != 0:
            return
        if not self.needs_sam_weights:
            self.print_to_log_file("MASAM_SLIM_CHECKPOINTS: no SAM weights in this recipe, checkpoints are saved whole")
            return
        self.slim_saving = SlimSaving(self.masam, resolve_sam_checkpoint(str(self.rules.vit)))
        self.print_to_log_file(str(self.slim_saving))

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's, but whole or not at all, and slim if asked for."""
        if self.local_rank != 0:  # saves nothing, and must not touch what rank 0 is writing
            return
        slimming = nullcontext() if self.slim_saving is None else self.slim_saving.applied(self.masam)
        with atomic_file(filename) as partial, slimming:
            super().save_checkpoint(str(partial))

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
        """nnU-Net's choice, but for what the recipe sets."""
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
        """Nothing: the decoder has one output."""

    # ---- steps

    @property
    def micro_batch_size(self) -> int:
        """Samples that go through the network at once."""
        return min(self.batch_size, self.configuration_manager.configuration["micro_batch_size"])

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.steps_taken = self.current_epoch * self.num_iterations_per_epoch

    def train_step(self, batch: dict) -> dict:
        """One optimiser step on ``batch``, a micro-batch at a time."""
        self.lr_scheduler.set_step(self.steps_taken)
        self.optimizer.zero_grad(set_to_none=True)
        micro_batches = self._split(batch)
        total_loss = 0.0
        for index, micro_batch in enumerate(micro_batches):
            data = micro_batch["data"].to(self.device, non_blocking=True)
            target = micro_batch["target"].to(self.device, non_blocking=True)
            share = len(data) / len(batch["data"])
            with self._synchronised_if(index == len(micro_batches) - 1):
                with self._autocast():
                    logits = self.network(data)
                loss = self.loss(logits, target) * share
                (loss if self.grad_scaler is None else self.grad_scaler.scale(loss)).backward()
            total_loss += loss.detach().item()
        self._step_optimizer()
        self.steps_taken += 1
        return {"loss": np.asarray(total_loss)}

    def _step_optimizer(self) -> None:
        if self.grad_scaler is not None:
            self.grad_scaler.unscale_(self.optimizer)
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.requires_grad], self.gradient_clip)
        if self.grad_scaler is None:
            self.optimizer.step()
        else:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()

    def validation_step(self, batch: dict) -> dict:
        """nnU-Net's, a micro-batch at a time: counts add up, losses are averaged."""
        parts = self._split(batch)
        results = [super(MASAMTrainer, self).validation_step(part) for part in parts]
        weights = [len(part["data"]) for part in parts]
        merged = {key: sum(result[key] for result in results) for key in ("tp_hard", "fp_hard", "fn_hard")}
        return {"loss": np.average([result["loss"] for result in results], weights=weights), **merged}

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's, with the tiles that prediction takes."""
        configuration, self.configuration_manager = self.configuration_manager, self.prediction_configuration
        try:
            super().perform_actual_validation(save_probabilities)
        finally:
            self.configuration_manager = configuration

    def _split(self, batch: dict) -> list[dict]:
        data, target = batch["data"], batch["target"]
        size = self.micro_batch_size
        return [{"data": d, "target": t} for d, t in zip(data.split(size), target.split(size), strict=True)]

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type) if self.device.type == "cuda" else nullcontext()

    def _synchronised_if(self, last: bool) -> AbstractContextManager:
        """Exchange gradients between GPUs once a step, with the last micro-batch."""
        if isinstance(self.network, DistributedDataParallel) and not last:
            return self.network.no_sync()
        return nullcontext()
