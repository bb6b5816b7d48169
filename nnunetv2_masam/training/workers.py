"""Random numbers of the processes that load and augment training data."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform


class SeedWorker(BasicTransform):
    """Seed torch once in each loading process; nothing else changes.

    batchgenerators gives every worker a NumPy generator of its own and leaves torch's as it was forked, the same in all
    workers. nnU-Net draws from torch whether a transform is applied, the axes to mirror and noise. In the process that
    made this transform, such as that of a training with ``MASAM_SEED``, no generator is touched.
    """

    def __init__(self) -> None:
        super().__init__()
        self.process = os.getpid()

    def apply(self, data_dict: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Return ``data_dict`` as it is."""
        if self.process != os.getpid():
            self.process = os.getpid()
            torch.default_generator.manual_seed(int(np.random.randint(2**63 - 1, dtype=np.int64)))
        return data_dict
