"""The base of all trainers, whichever network they train, on top of nnU-Net's training loop.

An *iteration* of nnU-Net is one optimizer step here, on the plans' ``batch_size`` samples. They go through the network
``micro_batch_size`` at a time and their gradients add up (gradient accumulation), so that the effective batch size is
the same on every GPU. An *epoch* is nnU-Net's: ``num_iterations_per_epoch`` steps, not one pass over the data.
"""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, distributed, nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_masam.files import atomic_file, shortened
from nnunetv2_masam.processes import torch_threads
from nnunetv2_masam.training import seed
from nnunetv2_masam.training.clock import StepClock
from nnunetv2_masam.training.continued import changed_dataset
from nnunetv2_masam.training.cost_record import write_cost
from nnunetv2_masam.training.finite import SkippedSteps, damaged_cases, nonfinite_tensors
from nnunetv2_masam.training.lock import FoldLock
from nnunetv2_masam.training.log import log_to
from nnunetv2_masam.training.microbatches import copied_ahead, split_batch
from nnunetv2_masam.training.ranks import global_rank
from nnunetv2_masam.training.workers import SeedWorker


class BaseTrainer(nnUNetTrainer):
    """nnU-Net's trainer with gradient accumulation, which protects what a user has trained already.

    One process trains a fold at a time. Steps whose loss or gradient is not finite are skipped, and a training with
    many of them stops. Checkpoints are saved atomically, and never with values that are not finite. With ``MASAM_SEED``
    in the environment a training can be repeated.

    Attributes:
        gradient_clip: largest norm of the gradient; None does not clip.
        loss_under_autocast: compute the loss in the mixed precision of the network, as nnU-Net does.
        skipped_share: a training stops when more than this share of an epoch's steps was skipped.
    """

    gradient_clip: float | None = 12.0
    loss_under_autocast = True
    skipped_share = 0.1
    save_every: int

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net reads and repeats this signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        log_to(self)
        self.seed = seed.seed_from_environment()
        self.fold_lock = FoldLock(self.output_folder)
        self.step_clock = StepClock()
        self.times_logged = False
        self.skipped = SkippedSteps(self.skipped_share)
        if self.device.type == "cpu":
            torch.set_flush_denormal(True)  # gradients of a well-fitted background are denormal, and slow
            torch.set_num_threads(torch_threads())  # nnU-Net takes as many as the machine has, whatever a job may use

    @property
    def bare_network(self) -> nn.Module:
        """The network without what nnU-Net wraps around it."""
        network = self.network
        if isinstance(network, DistributedDataParallel):
            network = network.module
        if isinstance(network, OptimizedModule):
            network = network._orig_mod
        return network

    def _do_i_compile(self) -> bool:
        """Compile only on request (``nnUNet_compile=t``): what it gains here on which GPU is not measured."""
        return "nnUNet_compile" in os.environ and super()._do_i_compile()

    def print_to_log_file(self, *args: Any, **options: Any) -> None:
        """nnU-Net's, which writes where ``local_rank`` is 0; here by one process of all nodes."""
        if global_rank() == 0 or self.local_rank != 0:
            super().print_to_log_file(*args, **options)

    # ---- start and end

    def initialize(self) -> None:
        """Set up as nnU-Net does, and save checkpoints at least ten times in a training."""
        if self.seed is not None:
            seed.seed_all(self.seed, seed.WEIGHTS)
        super().initialize()
        self.save_every = min(self.save_every, max(1, self.num_epochs // 10))

    def _build_loss(self) -> nn.Module:
        """Build nnU-Net's loss. Batch Dice gathers over ranks only where their micro-batches have equal sizes."""
        loss = super()._build_loss()
        if self.is_ddp and self.configuration_manager.batch_size % distributed.get_world_size():
            for module in loss.modules():
                if hasattr(module, "ddp"):
                    module.ddp = False  # it gathers tensors that would differ in shape and number
        return loss

    def get_dataloaders(self) -> tuple:
        """Make nnU-Net's loaders; with a seed, each batch follows from the seed and its number."""
        if self.seed is None:
            return super().get_dataloaders()
        with seed.no_workers():
            training, validation = super().get_dataloaders()
        steps = self.num_iterations_per_epoch, self.num_val_iterations_per_epoch
        return seed.numbered_loaders(training, validation, steps, (self.seed, global_rank()), self.current_epoch)

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> BasicTransform:
        """Build nnU-Net's transforms, which draw other random numbers in each loading process."""
        transforms = super().get_training_transforms(*args, **kwargs)
        transforms.transforms.insert(0, SeedWorker())
        return transforms

    def lock_fold(self) -> None:
        """Keep other processes from training or validating this fold.

        Raises:
            FoldInUse: another one does so already.
        """
        if global_rank() == 0:
            self.fold_lock.acquire()

    def on_train_start(self) -> None:
        """nnU-Net's, for one process at a time."""
        self.lock_fold()
        super().on_train_start()
        if self.seed is not None:
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
            self.print_to_log_file(f"{seed.VARIABLE}={self.seed}: weights, batches and dropout follow from it")

    def on_train_end(self) -> None:
        """End as nnU-Net does, and write the cost that ``nnUNetv2_masam compare`` reads."""
        super().on_train_end()
        if global_rank() == 0:
            write_cost(Path(self.output_folder), self.bare_network, self.device)
        self.fold_lock.release()

    def save_checkpoint(self, filename: str) -> None:
        """Save atomically: a process that is killed leaves the old file.

        Raises:
            ValueError: the network holds values that are not finite; the file stays as it was.
        """
        if global_rank() != 0:
            return
        if names := nonfinite_tensors(self.bare_network.state_dict()):
            raise ValueError(
                f"{filename}: not written, because {len(names)} of the network's tensors hold values that are not "
                f"finite: {shortened(names)}. Continue from the last checkpoint (--c), with a lower learning rate"
            )
        with atomic_file(filename) as unfinished:
            super().save_checkpoint(str(unfinished))

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """nnU-Net's.

        Raises:
            ValueError: labels or channels of the dataset have changed since the training began.
        """
        try:
            super().load_checkpoint(*args, **kwargs)
        except RuntimeError as error:  # of load_state_dict
            changed = changed_dataset(Path(self.output_folder_base), self.dataset_json)
            if changed is None:
                raise
            raise ValueError(changed) from error

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's, for one process at a time."""
        self.lock_fold()
        try:
            super().perform_actual_validation(save_probabilities)
        finally:
            self.fold_lock.release()

    # ---- steps

    @property
    def micro_batch_size(self) -> int:
        """Samples of one forward pass: the whole batch, unless the plans have a ``micro_batch_size``."""
        return min(self.batch_size, self.configuration_manager.configuration.get("micro_batch_size", self.batch_size))

    def on_train_epoch_start(self) -> None:
        """Start as nnU-Net does; with a seed, what the epoch draws does not depend on earlier epochs."""
        super().on_train_epoch_start()
        if self.seed is not None:
            seed.seed_all(self.seed, seed.EPOCH, global_rank(), self.current_epoch)
        self.skipped.start_epoch()
        self.step_clock.start_epoch()

    def _before_step(self) -> None:
        """Do what a trainer needs before each optimizer step, such as setting the learning rate."""

    def train_step(self, batch: dict) -> dict:
        """One optimizer step on ``batch``, a micro-batch at a time, with one synchronisation of the GPU.

        Returns:
            the loss, averaged over the samples of all ranks; not finite if the step was skipped for that.
        """
        self.step_clock.step_begins()
        self._before_step()
        self.optimizer.zero_grad(set_to_none=True)
        samples = len(batch["data"])
        if distributed.is_initialized():
            # gradients are averaged over ranks, whose batches may differ in size
            samples = self.configuration_manager.batch_size / distributed.get_world_size()
        micro_batches = self._split(batch)
        total_loss = torch.zeros((), device=self.device)
        for index, (data, target) in enumerate(copied_ahead(micro_batches, self.device)):
            with self._synchronised_if(index == len(micro_batches) - 1):
                with self._autocast():
                    logits = self.network(data)
                with self._autocast() if self.loss_under_autocast else nullcontext():
                    loss = self.loss(logits, target) * (len(data) / samples)
                (loss if self.grad_scaler is None else self.grad_scaler.scale(loss)).backward()
            total_loss += loss.detach()
        mean_loss, taken = self._step_optimizer(total_loss)
        if not taken:
            self.print_to_log_file(self.skipped.note(batch, mean_loss, self.num_iterations_per_epoch))
        self.step_clock.step_ends()
        return {"loss": np.asarray(mean_loss)}

    def _step_optimizer(self, loss: Tensor) -> tuple[float, bool]:
        """Take the step, and return the mean loss of all ranks and whether it was taken. All ranks decide alike.

        Gradients are the same on all ranks. Where a scaler looks for overflow in them, it skips such steps itself.
        """
        if self.grad_scaler is not None:
            self.grad_scaler.unscale_(self.optimizer)
        limit = math.inf if self.gradient_clip is None else self.gradient_clip
        trained = [p for p in self.network.parameters() if p.requires_grad]
        norm = nn.utils.clip_grad_norm_(trained, limit)
        if distributed.is_initialized():
            distributed.all_reduce(loss)
            loss = loss / distributed.get_world_size()
        mean_loss, gradient_norm = torch.stack([loss.float(), norm.to(loss.device).float()]).tolist()
        taken = math.isfinite(mean_loss) and (self.grad_scaler is not None or math.isfinite(gradient_norm))
        if self.grad_scaler is None:
            if taken:
                self.optimizer.step()
        elif taken:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        else:
            self.grad_scaler.update(self.grad_scaler.get_scale())  # no smaller scale helps here
        return mean_loss, taken

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log as nnU-Net does, over the steps that were taken; in the first epoch, also what limits the training."""
        if not self.times_logged:
            self.times_logged = True
            self.print_to_log_file(f"Measured in the first epoch, {self.step_clock}")
        finite = [output for output in train_outputs if np.isfinite(output["loss"])]
        if not finite:
            raise ValueError(self.skipped.reason(self.num_iterations_per_epoch))
        if self.skipped.number:
            self.print_to_log_file(f"{self.skipped.number} of {len(train_outputs)} steps were skipped")
        super().on_train_epoch_end(finite)

    def validation_step(self, batch: dict) -> dict:
        """Validate one micro-batch after the other: counts add up, losses are averaged."""
        parts = self._split(batch)
        results = [super(BaseTrainer, self).validation_step(part) for part in parts]
        weights = [len(part["data"]) for part in parts]
        merged = {key: sum(result[key] for result in results) for key in ("tp_hard", "fp_hard", "fn_hard")}
        loss = np.average([result["loss"] for result in results], weights=weights)
        if not np.isfinite(loss):
            cases = damaged_cases(batch) or [str(key) for key in batch["keys"]]
            self.print_to_log_file(f"The validation loss is not finite; cases {shortened(cases)}")
        return {"loss": loss, **merged}

    def _split(self, batch: dict) -> list[dict]:
        return split_batch(batch, math.ceil(len(batch["data"]) / self.micro_batch_size))

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type) if self.device.type == "cuda" else nullcontext()

    def _synchronised_if(self, last: bool) -> AbstractContextManager:
        """Exchange gradients between GPUs once a step, with the last micro-batch."""
        if isinstance(self.network, DistributedDataParallel) and not last:
            return self.network.no_sync()
        return nullcontext()
