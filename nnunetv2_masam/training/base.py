"""What all trainers here share, whichever network they train, on top of nnU-Net's training loop.

An *iteration* of nnU-Net is one optimizer step here, on the plans' ``batch_size`` samples. They go through the network
``micro_batch_size`` at a time and their gradients add up (gradient accumulation), so that the effective batch size is
the same on every GPU. An *epoch* is nnU-Net's: ``num_iterations_per_epoch`` steps, not one pass over the data.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from nnunetv2_masam.files import atomic_file
from nnunetv2_masam.training.memory import peak_memory


class BaseTrainer(nnUNetTrainer):
    """nnU-Net's trainer with gradient accumulation, whole checkpoints and a note of the training's cost.

    Attributes:
        gradient_clip: largest norm of the gradient; None does not clip.
        loss_under_autocast: compute the loss in the mixed precision of the network, as nnU-Net does.
    """

    gradient_clip: float | None = 12.0
    loss_under_autocast = True

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net reads and repeats this signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.device.type == "cpu":
            torch.set_flush_denormal(True)  # gradients of a well-fitted background are denormal, and slow

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

    # ---- start, end, checkpoints

    def on_train_end(self) -> None:
        """nnU-Net's, and a note of the cost that ``nnUNetv2_masam compare`` reads."""
        super().on_train_end()
        if self.local_rank == 0:
            total, trained = self._count_parameters()
            cost = {"parameters": total, "trained_parameters": trained, "peak_memory_bytes": peak_memory(self.device)}
            (Path(self.output_folder) / "masam_cost.json").write_text(json.dumps(cost) + "\n")

    def _count_parameters(self) -> tuple[int, int]:
        """All parameters, and those that are trained."""
        parameters = list(self.bare_network.parameters())
        return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's, but whole or not at all."""
        if self.local_rank != 0:
            return
        with atomic_file(filename) as partial:
            super().save_checkpoint(str(partial))

    # ---- steps

    @property
    def micro_batch_size(self) -> int:
        """Samples that go through the network at once; all of a batch unless the plans say otherwise."""
        return min(self.batch_size, self.configuration_manager.configuration.get("micro_batch_size", self.batch_size))

    def _before_step(self) -> None:
        """What a trainer does before each optimizer step, such as setting the learning rate."""

    def train_step(self, batch: dict) -> dict:
        """One optimizer step on ``batch``, a micro-batch at a time."""
        self._before_step()
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
                with self._autocast() if self.loss_under_autocast else nullcontext():
                    loss = self.loss(logits, target) * share
                (loss if self.grad_scaler is None else self.grad_scaler.scale(loss)).backward()
            total_loss += loss.detach().item()
        self._step_optimizer()
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
        results = [super(BaseTrainer, self).validation_step(part) for part in parts]
        weights = [len(part["data"]) for part in parts]
        merged = {key: sum(result[key] for result in results) for key in ("tp_hard", "fp_hard", "fn_hard")}
        return {"loss": np.average([result["loss"] for result in results], weights=weights), **merged}

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
