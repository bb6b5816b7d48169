"""How often two loading processes of a training draw the same augmentation.

    python benchmarks/worker_draws.py

nnU-Net's data loader and its workers give the samples, with the training transforms of ``nnUNetTrainer`` and of
``nnUNetTrainerMASAM``, from one image that fills the patch. What a sample's transforms draw is recorded, and the n-th
sample of a worker is compared with the n-th of every other worker. Chance is what independent draws would give. Writes
``benchmarks/results/worker-draws-cpu.json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from environment import describe_environment
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_masam.training.trainer import MASAMTrainer

OUTPUT = Path(__file__).resolve().parent / "results" / "worker-draws-cpu.json"
PATCH = (5, 32, 32)
TRAINERS = {"nnUNetTrainer": nnUNetTrainer, "nnUNetTrainerMASAM": MASAMTrainer}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4, help="loading processes of a training (default: 4)")
    parser.add_argument("--samples", type=int, default=200, help="samples compared for each worker (default: 200)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"file to write (default: {OUTPUT.name})")
    args = parser.parse_args()
    result: dict[str, Any] = {
        "environment": describe_environment(),
        "loaders": {name: metadata.version(name) for name in ("batchgenerators", "batchgeneratorsv2")},
        "workers": args.workers,
        "samples": args.samples,
    }
    for name in TRAINERS:
        records = drawn(name, args.workers, args.samples)
        pairs = itertools.combinations(records, 2)
        different = {record[:-2].tobytes() for worker in records for record in worker}
        result[name] = {
            **compared([pair for one, other in pairs for pair in zip(one, other, strict=True)]),
            "different combinations of transforms and axes": len(different),
        }
    result["by chance"] = chance()
    print(json.dumps(result, indent=1))
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def drawn(name: str, workers: int, samples: int) -> list[list[np.ndarray]]:
    """Start workers as nnU-Net does, and take batches until each has given as many samples; a list for each worker."""
    labels = SimpleNamespace(all_labels=[1], has_ignore_label=False)
    loader = nnUNetDataLoader(OneImage("", ["case"]), 1, PATCH, PATCH, labels, transforms=Recorded(transforms(name)))
    augmenter = NonDetMultiThreadedAugmenter(loader, None, workers, num_cached=max(6, workers // 2))
    found: dict[int, dict[int, np.ndarray]] = defaultdict(dict)
    while len(found) < workers or min(map(len, found.values())) < samples:
        process, number, *record = next(augmenter)["data"][0].double().numpy().ravel()
        found[int(process)][int(number)] = np.array(record)
    augmenter._finish()
    return [[records[number] for number in range(samples)] for records in found.values()]


def transforms(name: str) -> list[BasicTransform]:
    """Training transforms of a trainer, by its own method."""
    trainer = object.__new__(TRAINERS[name])
    composed = trainer.get_training_transforms(PATCH, (-math.pi, math.pi), None, (1, 2), True)
    for transform in composed.transforms:
        inner = getattr(transform, "transform", None)
        if hasattr(inner, "benchmark"):
            inner.benchmark = False  # it only takes time
    found: list[BasicTransform] = composed.transforms
    return found


class OneImage(nnUNetBaseDataset):
    """One image of noise that fills the patch, without labels."""

    def load_case(self, identifier: str) -> tuple[np.ndarray, np.ndarray, None, dict[str, Any]]:
        """Image (1, D, H, W) and segmentation (1, D, H, W)."""
        image = np.random.RandomState(0).standard_normal((1, *PATCH)).astype(np.float32)
        return image, np.zeros((1, *PATCH), np.int16), None, {"class_locations": {}}

    @staticmethod
    def save_case(*_: Any) -> None:
        """Nothing is saved."""

    @staticmethod
    def get_identifiers(folder: str) -> list[str]:
        """The one image."""
        return ["case"]


class Recorded(BasicTransform):
    """Apply transforms, and give what they drew in place of the image.

    Its numbers are the process, that of the sample in it, one for each random transform (applied or not), one for each
    axis (mirrored or not), whether the sample was rotated or scaled, and a checksum of the augmented image.
    """

    def __init__(self, inner: list[BasicTransform]) -> None:
        super().__init__()
        self.inner = inner
        self.number = 0

    def apply(self, data_dict: dict[str, Any], **_: Any) -> dict[str, Any]:
        """A record (1, numbers) as the image."""
        decisions: list[float] = []
        moved = 0.0
        for transform in self.inner:
            parameters = transform.get_parameters(**data_dict)
            if isinstance(transform, RandomTransform):
                decisions.append(float(parameters["apply_transform"]))
            elif isinstance(transform, MirrorTransform):
                decisions += [float(axis in parameters["axes"]) for axis in transform.allowed_axes]
            elif isinstance(transform, SpatialTransform):
                moved = float(parameters["affine"] is not None)
            data_dict = transform.apply(data_dict, **parameters)
        weights = torch.linspace(1, 2, data_dict["image"].numel())
        checksum = float((data_dict["image"].flatten() * weights).sum())
        record = [os.getpid(), self.number, *decisions, moved, checksum]
        self.number += 1
        return {"image": torch.tensor([record]), "segmentation": data_dict["segmentation"]}


def compared(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Shares of pairs that are equal."""
    return {
        "same transforms applied": _share(np.array_equal(a[:-4], b[:-4]) for a, b in pairs),
        "same axes mirrored": _share(np.array_equal(a[-4:-2], b[-4:-2]) for a, b in pairs),
        "both": _share(np.array_equal(a[:-2], b[:-2]) for a, b in pairs),
        "same augmented image": _share(a[-1] == b[-1] for a, b in pairs),
    }


def chance() -> dict[str, float]:
    """Shares for independent draws."""
    random = [t for t in transforms("nnUNetTrainer") if isinstance(t, RandomTransform)]
    same = math.prod(t.apply_probability**2 + (1 - t.apply_probability) ** 2 for t in random)
    # two samples that are neither rotated nor scaled (0.8 each) nor changed by a transform, which may spare the channel
    unchanged = 0.8**4 * math.prod((1 - t.apply_probability * t.transform.p_per_channel) ** 2 for t in random)
    return {name: round(value, 4) for name, value in {
        "same transforms applied": same,
        "same axes mirrored": 0.25,
        "both": same / 4,
        "same augmented image": unchanged / 4,
    }.items()}  # fmt: skip


def _share(values: Any) -> float:
    return round(statistics.fmean(float(value) for value in values), 4)


if __name__ == "__main__":
    main()
